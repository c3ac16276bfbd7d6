//! The switch itself: nothing unproven is ever shown, and what is said of it afterwards is true.

use std::time::{Duration, Instant};

use projector::rebuild::{
    Allowed, Phase, Purpose, Rebuild, RebuildError, RebuildSettings, Refusal, Report,
};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};
use testkit::eventually;
use testkit::pipeline::proxy::{CommitFate, Proxy};

use crate::log;
use crate::world::{PATIENCE, World, settings};

/// A reader that keeps every switch from being made while it is there.
pub(crate) async fn reader(world: &World) -> Transaction<'static, Postgres> {
    let mut reader = world.pool.begin().await.unwrap();
    sqlx::query("select count(*) from read_model.user_view")
        .execute(&mut *reader)
        .await
        .unwrap();
    reader
}

/// Until the run has come to its switch and has tried it in vain.
async fn tried(world: &World, rebuild: &Rebuild) {
    let progress = rebuild.progress();
    eventually(PATIENCE, || async {
        let phase = progress.phase();
        if phase == Phase::Switch {
            Ok(())
        } else {
            Err(phase)
        }
    })
    .await;
    let before = rolled_back(&world.pool).await;
    eventually(PATIENCE, || async {
        let more = rolled_back(&world.pool).await - before;
        if more > 2 { Ok(()) } else { Err(more) }
    })
    .await;
}

/// Transactions that were rolled back: each try of a switch that was not made is one.
async fn rolled_back(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select xact_rollback from pg_stat_database where datname = current_database()",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

pub(crate) async fn shown(world: &World) -> i32 {
    let shown = "select generation from projection.generation where state = 'active'";
    sqlx::query_scalar(shown)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

async fn positions(world: &World, generation: i32) -> Vec<i64> {
    let positions = "select position from projection.checkpoint where generation = $1
        order by partition";
    let positions = sqlx::query_scalar(positions).bind(generation);
    positions.fetch_all(&world.pool).await.unwrap()
}

/// A rebuild whose COMMIT of the switch meets this fate.
async fn with_lost_commit(world: &World, fate: CommitFate) -> Result<Report, RebuildError> {
    let proxy = Proxy::start(&world.database.options()).await;
    let url = proxy.url(&world.database.options());
    let pool = PgPoolOptions::new()
        .max_connections(settings().connections())
        .connect_lazy(&url)
        .unwrap();
    let rebuild = world.rebuild_on(pool, settings(), Allowed::default(), Purpose::Switch);
    let reader = reader(world).await;
    let lose = async {
        tried(world, &rebuild).await;
        proxy.lose_next_commit(fate);
        reader.rollback().await.unwrap();
    };
    let (ended, ()) = tokio::join!(rebuild.run(false), lose);
    assert!(proxy.has_lost_commit());
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_answer_was_lost_is_told_as_what_it_was() {
    let (world, _engine) = World::live(1_000).await;
    let late = CommitFate::Late(Duration::from_millis(300));
    let report = with_lost_commit(&world, late).await.unwrap();
    assert!(report.switched);
    assert_eq!(shown(&world).await, report.generation);

    let lost = with_lost_commit(&world, CommitFate::Swallowed).await;
    assert!(matches!(lost, Err(RebuildError::Database(_))), "{lost:?}");
    assert_eq!(shown(&world).await, report.generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_does_not_wait_when_another_generation_was_shown_meanwhile() {
    let (world, engine) = World::live(1_000).await;
    let second = world.rebuild().run(false).await.unwrap();
    world.settle(&engine).await;
    let rebuild = world.rebuild();
    let reader = reader(&world).await;
    let mut since = None;
    let overtake = async {
        tried(&world, &rebuild).await;
        since = Some(Instant::now());
        // As `projector rollback` does, but for the view, which has a reader.
        for (generation, state) in [(2, "standby"), (1, "active")] {
            let update = format!(
                "update projection.generation set state = '{state}' where generation = {generation}"
            );
            world.execute(&update).await;
        }
    };
    let (ended, ()) = tokio::join!(rebuild.run(false), overtake);
    reader.rollback().await.unwrap();
    assert!(
        matches!(ended, Err(RebuildError::Overtaken { .. })),
        "{ended:?}"
    );
    assert!(since.unwrap().elapsed() < settings().patience / 2);
    assert_eq!(second.generation, 2);
    assert_eq!(shown(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_does_not_prove_itself_is_not_even_committed() {
    let (mut world, _engine) = World::live(1_000).await;
    let rebuild = world.rebuild();
    let reader = reader(&world).await;
    let events = world.people.activities(1, 3);
    let spoil = async {
        tried(&world, &rebuild).await;
        let before = positions(&world, 2).await;
        let mut appending = world.pool.begin().await.unwrap();
        // The follower sees head and digest in one snapshot, so they are changed in one.
        log::append_in(&mut appending, &events).await;
        let spoil = "update event_store.partition_head
            set digest = decode(repeat('ab', 16), 'hex') where partition = 1";
        sqlx::query(spoil).execute(&mut *appending).await.unwrap();
        appending.commit().await.unwrap();
        before
    };
    let (ended, before) = tokio::join!(rebuild.run(false), spoil);
    reader.rollback().await.unwrap();
    let refused = ended.unwrap_err();
    let RebuildError::Refused(Refusal::Digest { partition, .. }) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(partition.0, 1);
    assert_eq!(positions(&world, 2).await[1], before[1]);
    assert_eq!(shown(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_and_is_not_proven_yet_is_not_shown() {
    let (mut world, _engine) = World::live(1_000).await;
    let small = RebuildSettings {
        batch: projector::engine::BatchLimits {
            events_max: 1,
            rows_max: 1,
        },
        ..settings()
    };
    let rebuild = world.rebuild_with(small, Allowed::default());
    let first_reader = reader(&world).await;
    // Of two events of one partition the second can be applied only when its row is let go.
    let events = world.people.activities(1, 2);
    let hold = async {
        tried(&world, &rebuild).await;
        let mut holder = world.pool.begin().await.unwrap();
        let row = "select from read_model.user_view_g2 where tenant = $1 and id = $2::uuid
            for update";
        sqlx::query(row)
            .bind(events[1].tenant.as_str())
            .bind(&events[1].aggregate_id)
            .execute(&mut *holder)
            .await
            .unwrap();
        log::append(&world.pool, &events).await;
        let first = events[0].address.position;
        eventually(PATIENCE, || async {
            let at = positions(&world, 2).await[1];
            if at == first { Ok(()) } else { Err(at) }
        })
        .await;
        // Nobody else stands in the way of the switch now.
        first_reader.rollback().await.unwrap();
        tried(&world, &rebuild).await;
        let before = shown(&world).await;
        holder.rollback().await.unwrap();
        before
    };
    let (ended, before) = tokio::join!(rebuild.run(false), hold);
    assert_eq!(before, 1);
    assert!(ended.unwrap().switched);
}
