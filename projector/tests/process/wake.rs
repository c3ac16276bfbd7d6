//! An append in one process wakes the projector of another one, by PostgreSQL's notification.

use std::time::{Duration, Instant};

use testkit::eventually;
use testkit::history::{active, registered};
use uuid::Uuid;

use crate::world::{PATIENCE, World};
use crate::writer::Writer;

const ROUNDS: usize = 20;

/// A partition that nobody wakes looks for itself a second after it had nothing to do.
const CLEARLY_WOKEN: Duration = Duration::from_millis(500);

/// Waits until so many events are applied.
async fn applied(world: &World, events: i64) {
    eventually(PATIENCE, || async {
        let progress = world.progress().await;
        if progress == events {
            Ok(())
        } else {
            Err(progress)
        }
    })
    .await;
}

/// A busy machine may delay some of them.
fn assert_woken(mut took: Vec<Duration>) {
    took.sort_unstable();
    assert!(took[ROUNDS / 4] < CLEARLY_WOKEN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_wakes_the_projector_of_another_process_long_before_it_looks_for_itself() {
    let (world, id) = (World::new().await, Uuid::now_v7());
    // The look at the heads, which would find the event as well, comes once a minute.
    let _daemon = world.start_with(&["--source-silence-max", "60s"]);
    let writer = Writer::start(&world, id).await;
    writer
        .append(&registered(id, "Ann", "eu-west", [1; 32]))
        .await;
    applied(&world, 1).await;
    let mut took = Vec::new();
    for minute in 1..=i64::try_from(ROUNDS).unwrap() {
        let begun = Instant::now();
        writer.append(&active(minute)).await;
        applied(&world, minute + 1).await;
        took.push(begun.elapsed());
    }
    assert_woken(took);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_tells_of_is_found_after_source_silence_max() {
    let (mut world, id) = (World::new().await, Uuid::now_v7());
    let _daemon = world.start_with(&["--source-silence-max", "50ms"]);
    let created = registered(id, "Ann", "eu-west", [1; 32]);
    // By hand, so that no lane notifies anybody.
    world.append(vec![(id, created)]).await;
    applied(&world, 1).await;
    let mut took = Vec::new();
    for minute in 1..=i64::try_from(ROUNDS).unwrap() {
        let begun = Instant::now();
        world.append(vec![(id, active(minute))]).await;
        applied(&world, minute + 1).await;
        took.push(begun.elapsed());
    }
    assert_woken(took);
}
