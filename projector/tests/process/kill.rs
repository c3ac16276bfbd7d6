//! A projector that is killed under load leaves every row as the fold of its events (I5).

use testkit::eventually;
use testkit::history::{active, registered};
use uuid::Uuid;

use crate::world::{PATIENCE, World};

const KILLS_DEFAULT: usize = 3;

/// How many events are appended between two looks at the projector.
const BURST: usize = 40;

/// A kill comes after this many events were applied since the last one.
const BETWEEN_KILLS: i64 = 300;

/// `RUNNEL_KILLS`: `make kills` asks for 20.
fn kills() -> usize {
    std::env::var("RUNNEL_KILLS").map_or(KILLS_DEFAULT, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_killed_under_load_leaves_every_row_as_the_fold_of_its_events() {
    let mut world = World::new().await;
    let users: Vec<Uuid> = (0..60).map(|_| Uuid::now_v7()).collect();
    let mut hash = [0; 32];
    let mut registrations = Vec::new();
    for (number, &id) in users.iter().enumerate() {
        hash[0] = u8::try_from(number).unwrap();
        registrations.push((
            id,
            registered(id, &format!("User {number}"), "eu-west", hash),
        ));
    }
    world.append(registrations).await;
    let mut minute = 0;
    for kill in 0..kills() {
        let daemon = world.start();
        let before = world.progress().await;
        let begun = std::time::Instant::now();
        // Load goes on until the daemon has done some work, and it dies in the middle of more.
        while world.progress().await < before + BETWEEN_KILLS {
            assert!(
                begun.elapsed() < PATIENCE,
                "kill {kill}: the daemon does nothing"
            );
            let burst = (0..BURST).map(|n| {
                minute += 1;
                (
                    users[(minute as usize * 7 + n) % users.len()],
                    active(minute),
                )
            });
            let burst = burst.collect();
            world.append(burst).await;
        }
        daemon.kill();
    }
    let daemon = world.start();
    world.settled().await;
    world.assert_shown_rows_are_the_fold().await;
    assert_eq!(daemon.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_asked_to_stop_hands_its_partitions_over_at_once() {
    let mut world = World::new().await;
    let id = Uuid::now_v7();
    world
        .append(vec![(id, registered(id, "Ann", "eu-west", [1; 32]))])
        .await;
    let first = world.start();
    world.settled().await;
    assert_eq!(first.terminate().await, Some(0));
    let held = "select count(*) from projection.lease where owner is not null";
    let held: i64 = sqlx::query_scalar(held)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(held, 0);
    let _second = world.start();
    world.append(vec![(id, active(1))]).await;
    eventually(PATIENCE, || async {
        let progress = world.progress().await;
        if progress == 2 { Ok(()) } else { Err(progress) }
    })
    .await;
    world.assert_shown_rows_are_the_fold().await;
}
