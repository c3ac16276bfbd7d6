//! One address, one user, whatever happens at the same moment (claims of I2 over two processes).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use sqlx::PgPool;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::{EventLog, Ledger, Pipeline, Service};
use uuid::Uuid;

use crate::scene::{Dice, admin};

const USERS: usize = 50;
const ADDRESSES: usize = 60;
const WRITERS: usize = 32;
const CHANGES: usize = 1000;

const SNAPSHOT: &str = "set transaction isolation level repeatable read, read only";

/// The address that each user's own events say it holds.
const HELD: &str = "
select payload->'email_key'->>'hash', aggregate_id from (
    select distinct on (partition, stream_no) payload, aggregate_id
    from event_store.event
    where event_type in ('UserRegistered', 'UserEmailChanged')
    order by partition, stream_no, sequence desc) as newest";

const CLAIMED: &str = "select encode(key_hash, 'hex'), owner from event_store.claim";

const DEADLOCKS: &str = "select deadlocks from pg_stat_database where datname = current_database()";

fn address(number: usize) -> String {
    format!("address{number}@example.org")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_address_swaps_deadlocks_never_doubles_none_and_loses_none() {
    let pipeline = Pipeline::create().await;
    let (mut first, mut second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let nodes = [first.url(), second.url()];
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let users: Vec<Uuid> = (0..USERS).map(|_| Uuid::new_v4()).collect();
    for (number, user) in users.iter().enumerate() {
        let command = Command::register(*user, &address(number), "Ada");
        let answer = writer
            .send(&nodes[number % 2], command)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    let changed = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(pipeline.pool(), ended.clone()));
    let storm = (0..WRITERS).map(|number| {
        let (writer, users, changed) = (writer.clone(), users.clone(), changed.clone());
        tokio::spawn(swap(number, writer, nodes.clone(), users, changed))
    });
    for writer in storm.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    ended.store(true, Ordering::Relaxed);
    let looks = watcher.await.expect("every snapshot was true");
    assert!(looks > 3, "only {looks} looks at the storm");

    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    let moved = moves(&log);
    assert!(moved >= CHANGES, "{moved} changes of an address");
    // A backend reports what it counted when it ends.
    tokio::join!(first.stop(), second.stop());
    let deadlocks: i64 = sqlx::query_scalar(DEADLOCKS)
        .fetch_one(&pipeline.pool())
        .await
        .expect("statistics");
    assert_eq!(deadlocks, 0);
}

async fn swap(
    number: usize,
    writer: Writer,
    nodes: [String; 2],
    users: Vec<Uuid>,
    changed: Arc<AtomicUsize>,
) {
    let mut dice = Dice::new(number);
    // Some of the changes are to the address that the user has already; those do not count.
    while changed.load(Ordering::Relaxed) < CHANGES + CHANGES / 5 {
        let user = users[dice.roll(users.len())];
        let command = Command::change_email(user, &address(dice.roll(ADDRESSES)));
        let answer = writer
            .send(&nodes[dice.roll(2)], command)
            .await
            .expect("an answer");
        match (answer.status, answer.code().as_str()) {
            (200, _) => _ = changed.fetch_add(1, Ordering::Relaxed),
            (409, "email_taken") => {}
            // Contended; nothing was done.
            (503, code) if code != "outcome_unknown" => {}
            _ => panic!("{}", answer.text()),
        }
    }
}

/// In every snapshot the held addresses are distinct, and they are the claimed ones: none is at two
/// users, none is claimed by nobody. Returns how many snapshots were looked at.
async fn watch(pool: PgPool, ended: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !ended.load(Ordering::Relaxed) {
        let mut snapshot = pool.begin().await.expect("a snapshot");
        sqlx::query(SNAPSHOT)
            .execute(&mut *snapshot)
            .await
            .expect("a snapshot");
        let held: Vec<(String, String)> = fetch(HELD, &mut snapshot).await;
        let claimed: Vec<(String, String)> = fetch(CLAIMED, &mut snapshot).await;
        snapshot.rollback().await.expect("the end of a snapshot");
        let count = held.len();
        let held: BTreeMap<_, _> = held.into_iter().collect();
        assert_eq!(held.len(), count, "an address is at two users");
        let claimed: BTreeMap<_, _> = claimed.into_iter().collect();
        assert!(
            held.keys().eq(claimed.keys()),
            "{held:?} but claimed {claimed:?}"
        );
        for (address, user) in &held {
            assert!(
                claimed[address].contains(user),
                "{address} of {user}: {claimed:?}"
            );
        }
        looks += 1;
    }
    looks
}

async fn fetch(sql: &str, connection: &mut sqlx::PgConnection) -> Vec<(String, String)> {
    sqlx::query_as(sql)
        .fetch_all(connection)
        .await
        .expect("rows")
}

/// Changes to another address than the one before.
fn moves(log: &EventLog) -> usize {
    let mut held: BTreeMap<&str, String> = BTreeMap::new();
    let mut moves = 0;
    for entry in &log.entries {
        if let Some(hash) = entry.payload["email_key"]["hash"].as_str() {
            let before = held.insert(&entry.aggregate_id, hash.to_owned());
            moves += usize::from(before.is_some_and(|before| before != hash));
        }
    }
    moves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_registrations_of_one_address_at_once_make_one_user() {
    let pipeline = Pipeline::create().await;
    let (first, second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let nodes = [first.url(), second.url()];
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let registrations = (0..100).map(|number| {
        let command = Command::register(Uuid::new_v4(), "only.one@example.org", "Ada");
        let (writer, node) = (writer.clone(), &nodes[number % 2]);
        async move { writer.send(node, command).await.expect("an answer") }
    });
    let answers = join_all(registrations).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(201), count(409)), (1, 99));
    let taken = answers
        .iter()
        .filter(|answer| answer.code() == "email_taken")
        .count();
    assert_eq!(taken, 99);
    let log = pipeline.event_log().await;
    assert_eq!(log.entries.len(), 1);
    ledger.assert_true_of(&log);
}
