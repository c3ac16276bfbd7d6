//! A rebuild under writes, with a client that reads all the while: no failed read, no partial one,
//! none that goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events::{Role, Scope, TenantId};
use projector::rebuild::{Allowed, RebuildSettings};
use read_model::user_view::reads;
use sqlx::PgPool;
use testkit::eventually;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::log;
use crate::people::People;
use crate::world::{PATIENCE, World, settings};

/// Events of one burst, and the rest after it.
const BURST: usize = 20;
const BURST_REST: Duration = Duration::from_millis(10);

/// Reads users in turn until it is told to stop, and counts.
async fn read_on(
    pool: PgPool,
    users: Vec<(TenantId, Uuid)>,
    partitions: events::PartitionCount,
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
) {
    let mut seen = vec![(0, 0); users.len()];
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let index = number % users.len();
        number += 1;
        let (tenant, id) = &users[index];
        let scope = Scope {
            tenant: tenant.clone(),
            principal: id.to_string(),
            role: Role::User,
        };
        let partition = partitions.partition_of(tenant, &id.to_string());
        let mut connection = pool.acquire().await.unwrap();
        let mut read = reads::by_id(&mut connection, &scope, *id, partition).await;
        if let Err(reads::ReadError::Database(error)) = &read
            && error
                .as_database_error()
                .is_some_and(|e| e.code().as_deref() == Some("0A000"))
        {
            // As query-api does: once more on a fresh statement.
            sqlx::Connection::clear_cached_statements(&mut *connection)
                .await
                .unwrap();
            read = reads::by_id(&mut connection, &scope, *id, partition).await;
        }
        let (standing, user) = read.unwrap().expect("a generation is always shown");
        let user = user.expect("the user is always there");
        let now = (standing.checkpoints[0].position, user.version);
        assert!(
            now.0 >= seen[index].0 && now.1 >= seen[index].1,
            "{now:?} after {:?}",
            seen[index]
        );
        seen[index] = now;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

async fn write_on(pool: PgPool, mut people: People, stop: Arc<AtomicBool>) -> People {
    while !stop.load(Ordering::Relaxed) {
        let burst = people.events(BURST);
        log::append(&pool, &burst).await;
        tokio::time::sleep(BURST_REST).await;
    }
    people
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_while_the_live_view_is_too_far_behind() {
    let (mut world, engine) = World::live(2_000).await;
    // Live has leases, and something to do; the events of tests are old.
    engine.step().await;
    world.append(200).await;
    let settings = RebuildSettings {
        live_lag_max: Duration::from_secs(5),
        ..settings()
    };
    let rebuild = world.rebuild_with(settings, Allowed::default());
    let progress = rebuild.progress();
    let held_up = async {
        eventually(PATIENCE, || async {
            let is_held_up = progress.is_held_up();
            if is_held_up { Ok(()) } else { Err(is_held_up) }
        })
        .await;
        assert_eq!(progress.done(), 0);
        world.settle(&engine).await;
    };
    let mut run = std::pin::pin!(rebuild.run(false));
    tokio::select! {
        ended = &mut run => panic!("it was to be held up: {ended:?}"),
        () = held_up => {}
    }
    let report = run.await.unwrap();
    assert!(report.switched);
    world.assert_equal(1, report.generation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_writes_is_never_noticed_by_a_reader() {
    let (mut world, engine) = World::live(10_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let shutdown = CancellationToken::new();
    let daemon = tokio::spawn({
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        async move { engine.run_until(None, shutdown.cancelled_owned()).await }
    });
    let users = world.people.users[..50].to_vec();
    let partitions = world.store.partitions();
    let pool = world.database.pool();
    let reader = tokio::spawn(read_on(
        pool.clone(),
        users,
        partitions,
        stop.clone(),
        count.clone(),
    ));
    let people = std::mem::replace(&mut world.people, People::new());
    let writer = tokio::spawn(write_on(pool, people, stop.clone()));

    let report = world.rebuild().run(false).await;
    let at_switch = count.load(Ordering::Relaxed);
    // The daemon feeds both from now on.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    world.people = writer.await.unwrap();
    reader.await.unwrap();
    shutdown.cancel();
    daemon.await.unwrap().unwrap();
    let report = report.unwrap();
    assert!(report.switched);
    assert!(at_switch > 0, "somebody read meanwhile");
    assert!(count.load(Ordering::Relaxed) > at_switch, "and after it");

    let engine = world.engine().await;
    world.settle(&engine).await;
    world.assert_equal(1, report.generation).await;
}
