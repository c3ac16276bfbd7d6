//! Leases are shared fairly, traded, and handed over.

use std::time::Duration;

use projector::engine::{Engine, EngineSettings};
use testkit::eventually;

use crate::stage::{PATIENCE, Stage, settings};
use crate::tally::Tally;

fn shares(engines: &[Engine]) -> Vec<usize> {
    engines
        .iter()
        .map(|engine| engine.holds("tally").len())
        .collect()
}

async fn eventually_shared(engines: &[Engine], mut expected: Vec<usize>) {
    expected.sort_unstable();
    eventually(PATIENCE, || async {
        for engine in engines {
            engine.step().await;
        }
        let mut held = shares(engines);
        held.sort_unstable();
        if held == expected { Ok(()) } else { Err(held) }
    })
    .await;
}

#[tokio::test]
async fn partitions_are_spread_over_the_live_daemons_and_handed_over_at_once() {
    let stage = Stage::new().await;
    let mut engines = vec![stage.engine(Tally::leak(1, 1)).await];
    eventually_shared(&engines, vec![4]).await;
    engines.push(stage.engine(Tally::leak(1, 1)).await);
    eventually_shared(&engines, vec![2, 2]).await;
    engines.push(stage.engine(Tally::leak(1, 1)).await);
    eventually_shared(&engines, vec![1, 1, 2]).await;
    // Leases last ten seconds; who leaves in order does not keep them that long.
    engines.remove(0).leave().await;
    for engine in &engines {
        engine.attend().await.unwrap();
    }
    let mut held = shares(&engines);
    held.sort_unstable();
    assert_eq!(held, [2, 2]);
}

#[tokio::test]
async fn an_engine_with_an_id_that_stays_goes_on_at_once_where_a_killed_one_stopped() {
    let stage = Stage::new().await;
    let tally = Tally::leak(1, 1);
    let owner = uuid::Uuid::new_v4();
    let open = || async {
        let pool = stage.pool.clone();
        Engine::open_as(owner, pool, &stage.store, &[tally], settings()).await
    };
    let killed = open().await.unwrap();
    killed.step().await;
    stage.add("key", 1).await;
    stage.settle(&killed).await;
    drop(killed);
    // Leases last ten seconds, and nobody has handed them over.
    let next = open().await.unwrap();
    stage.add("key", 2).await;
    next.step().await;
    assert_eq!(next.holds("tally").len(), 4);
    stage.assert_rows_are_the_fold(1).await;
    let other = stage.engine(tally).await;
    other.step().await;
    assert_eq!(other.holds("tally").len(), 0, "another one waits");
}

#[tokio::test]
async fn two_engines_that_trade_leases_under_load_apply_each_event_once() {
    let stage = Stage::new().await;
    let brief = EngineSettings {
        lease: Duration::from_millis(200),
        ..settings()
    };
    let first = stage.engine_with(Tally::leak(1, 1), brief).await;
    let second = stage.engine_with(Tally::leak(1, 1), brief).await;
    for round in 0..30_i64 {
        for n in 0..8 {
            stage.add(&format!("key-{n}"), round).await;
        }
        // Every third round one of them falls asleep past its lease and wakes up with stale
        // cursors.
        let asleep = round % 3;
        if asleep != 0 {
            first.step().await;
        }
        if asleep != 1 {
            second.step().await;
        }
        for partition in first.partitions().iter() {
            let _ = tokio::join!(
                first.step_partition(partition),
                second.step_partition(partition)
            );
        }
        if asleep == 2 {
            stage
                .execute("update projection.lease set expires_at = '-infinity'")
                .await;
        }
    }
    eventually_shared(&[first.clone(), second.clone()], vec![2, 2]).await;
    eventually(PATIENCE, || async {
        first.step().await;
        second.step().await;
        let (rows, fold) = (stage.rows(1).await, stage.fold(1).await);
        if rows == fold {
            Ok(())
        } else {
            Err((rows, fold))
        }
    })
    .await;
    assert!(stage.parked().await.is_empty());
}

#[tokio::test]
async fn a_running_engine_is_woken_and_stops_while_its_leases_last() {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = engine.clone();
    let running = tokio::spawn(async move {
        running
            .run_until(None, async move { drop(stopped.await) })
            .await
    });
    for n in 0..200 {
        stage.add(&format!("key-{}", n % 20), n).await;
    }
    eventually(PATIENCE, || async {
        let rows: i64 = sqlx::query_scalar(
            "select count(*) from projection.checkpoint c
            join event_store.partition_head h using (partition)
            where c.position = h.position and h.position > 0",
        )
        .fetch_one(&stage.pool)
        .await
        .unwrap();
        if rows == 4 { Ok(()) } else { Err(rows) }
    })
    .await;
    stage.assert_rows_are_the_fold(1).await;
    stop.send(()).unwrap();
    // Leases last ten seconds.
    let ended = tokio::time::timeout(Duration::from_secs(9), running).await;
    ended.expect("it stops in time").unwrap().unwrap();
    let held: i64 =
        sqlx::query_scalar("select count(*) from projection.lease where owner is not null")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(held, 0, "every lease was handed over");
}
