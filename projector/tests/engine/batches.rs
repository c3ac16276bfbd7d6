//! Rows are the fold of their events, whatever the batches were.

use std::sync::atomic::Ordering;

use events::Partition;
use projector::engine::{BatchLimits, EngineSettings};
use proptest::test_runner::{Config, TestRunner};
use proptest::{collection, prop_assert_eq};

use crate::stage::{Stage, applied, settings};
use crate::tally::Tally;

#[tokio::test]
async fn a_fresh_store_is_shown_after_one_step() {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    engine.step().await;
    assert_eq!(stage.generations().await, [(1, 1, "active".to_owned())]);
    stage.execute("select * from read_model.tally").await;
    assert!(engine.health().filling.is_empty());
}

#[test]
fn every_row_equals_the_fold_of_its_events_after_random_streams() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let strategy = (
        collection::vec((0..12_u8, 0..500_i64), 1..120),
        1..40_usize,
        1..60_usize,
    );
    let mut runner = TestRunner::new(Config {
        cases: 12,
        ..Config::default()
    });
    runner
        .run(&strategy, |(stream, events_max, rows_max)| {
            let (rows, fold) = runtime.block_on(async {
                let stage = Stage::new().await;
                let batch = BatchLimits {
                    events_max,
                    rows_max,
                };
                let settings = EngineSettings {
                    batch,
                    ..settings()
                };
                let engine = stage.engine_with(Tally::leak(1, 3), settings).await;
                let half = stream.len() / 2;
                for (key, amount) in &stream[..half] {
                    stage.add(&format!("key-{key}"), *amount).await;
                }
                stage.settle(&engine).await;
                for (key, amount) in &stream[half..] {
                    stage.add(&format!("key-{key}"), *amount).await;
                }
                stage.settle(&engine).await;
                (stage.rows(1).await, stage.fold(1).await)
            });
            prop_assert_eq!(rows, fold);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_batch_is_cut_by_events() {
    let stage = Stage::new().await;
    let tally = Tally::leak(1, 1);
    let batch = BatchLimits {
        events_max: 4,
        rows_max: 1000,
    };
    let engine = stage
        .engine_with(
            tally,
            EngineSettings {
                batch,
                ..settings()
            },
        )
        .await;
    engine.step().await;
    let key = &stage.keys_of_first_partition(1)[0];
    for amount in 0..10 {
        stage.add(key, amount).await;
    }
    let first = Partition(0);
    assert_eq!(applied(engine.step_partition(first).await), 4);
    assert_eq!(applied(engine.step_partition(first).await), 4);
    assert_eq!(applied(engine.step_partition(first).await), 2);
    assert_eq!(tally.batches.load(Ordering::Relaxed), 3);
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn a_batch_is_cut_by_row_effects_and_one_event_always_goes() {
    let stage = Stage::new().await;
    let key = &stage.keys_of_first_partition(1)[0];
    // Effects an event, batches for six events at no more than ten effects each.
    for (effects, batches) in [(3, 2), (5, 3), (11, 6)] {
        let tally = Tally::leak(1, effects);
        let batch = BatchLimits {
            events_max: 1000,
            rows_max: 10,
        };
        let engine = stage
            .engine_with(
                tally,
                EngineSettings {
                    batch,
                    ..settings()
                },
            )
            .await;
        engine.step().await;
        for amount in 0..6 {
            stage.add(key, amount).await;
        }
        assert_eq!(applied(engine.step_partition(Partition(0)).await), 6);
        assert_eq!(
            tally.batches.load(Ordering::Relaxed),
            batches,
            "{effects} effects"
        );
        engine.leave().await;
    }
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn what_was_committed_is_announced_with_what_it_touched() {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    engine.step().await;
    let mut announced = engine.subscribe();
    let address = stage.add("key", 3).await;
    engine.step().await;
    let applied = announced.try_recv().unwrap();
    assert_eq!((applied.projection, applied.generation), ("tally", 1));
    assert_eq!(
        (applied.partition, applied.position),
        (address.partition, address.position)
    );
    assert_eq!(applied.touched[0].id, "key");
    assert!(announced.try_recv().is_err(), "once per batch");
}

#[tokio::test]
async fn a_paused_projection_rests_until_it_is_resumed() {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    engine.step().await;
    stage
        .execute("insert into projection.control (projection, paused) values ('tally', true)")
        .await;
    stage.add("key", 3).await;
    engine.step().await;
    assert!(stage.rows(1).await.is_empty());
    assert_eq!(engine.health().paused, ["tally"]);
    stage
        .execute("update projection.control set paused = false")
        .await;
    engine.step().await;
    stage.assert_rows_are_the_fold(1).await;
}
