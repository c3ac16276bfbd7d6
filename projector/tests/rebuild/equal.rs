//! A rebuild equals live, row for row, however it is cut (I8).

use projector::engine::BatchLimits;
use projector::rebuild::{Allowed, RebuildSettings};

use crate::world::{World, settings};

const EVENTS: usize = 50_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_equals_live_row_for_row_whatever_the_ranges_slices_and_memory() {
    let (world, _engine) = World::live(EVENTS).await;
    let batch = |events_max| BatchLimits {
        events_max,
        rows_max: 20_000,
    };
    let ways = [
        RebuildSettings {
            parallelism: 4,
            range_events: 5_000,
            ..settings()
        },
        RebuildSettings {
            parallelism: 1,
            range_events: 777,
            ..settings()
        },
        // The memory is used up at once: nearly everything is applied in batches.
        RebuildSettings {
            memory_bytes: 400_000,
            batch: batch(1_300),
            ..settings()
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let report = world
            .rebuild_with(way, Allowed::default())
            .run(false)
            .await
            .unwrap();
        let generation = i32::try_from(number).unwrap() + 2;
        assert_eq!(report.generation, generation);
        assert_eq!(report.compared_with, Some(generation - 1));
        assert_eq!(report.events, i64::try_from(EVENTS).unwrap());
        let applied: i64 = report.partitions.iter().map(|one| one.applied).sum();
        assert_eq!(applied, report.events);
        world.assert_equal(1, generation).await;
    }
    let states = world.generations().await;
    let states: Vec<_> = states.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["standby", "standby", "standby", "active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_leaves_everything_as_it_was() {
    let (world, _engine) = World::live(2_000).await;
    let report = world.compare().await.unwrap();
    assert!(!report.switched);
    assert_eq!(world.generations().await, [(1, "active".to_owned())]);
    let left: bool = sqlx::query_scalar("select to_regclass('read_model.user_view_g2') is null")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(left, "its tables are dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_live_view_a_rebuild_is_the_first_fill() {
    let mut world = World::new().await;
    world.append(1_000).await;
    let report = world.rebuild().run(false).await.unwrap();
    assert_eq!((report.generation, report.compared_with), (1, None));
    // A daemon goes on from there.
    let engine = world.engine().await;
    world.append(500).await;
    world.settle(&engine).await;
    let report = world.rebuild().run(false).await.unwrap();
    assert_eq!((report.generation, report.compared_with), (2, Some(1)));
    world.assert_equal(1, 2).await;
}
