//! I1 to I3 under load: two append processes, many writers on the same streams, a reader on each
//! partition's tail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use testkit::database::TEST_PARTITIONS;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::Outcome;
use testkit::pipeline::tail::Tails;
use testkit::pipeline::{Ledger, Pipeline, Service};
use uuid::Uuid;

use crate::scene::{Dice, admin, register};

const WRITERS: usize = 64;
const STREAMS: usize = 1000;
const COMMANDS_EACH: usize = 50;

/// What a writer believes the versions are: it demands some of them, and others demand the same.
type Versions = Arc<Mutex<HashMap<Uuid, i64>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_over_two_processes_leave_no_gap_skip_or_inversion_and_only_true_verdicts() {
    let pipeline = Pipeline::create().await;
    let (first, second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let nodes = [first.url(), second.url()];
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);

    let tails = Tails::follow(&pipeline.pool(), TEST_PARTITIONS);
    let users = register(&writer, &nodes, STREAMS).await;
    let versions = Versions::default();
    let writers = (0..WRITERS).map(|number| {
        let (writer, nodes) = (writer.clone(), nodes.clone());
        tokio::spawn(write(
            number,
            writer,
            nodes,
            users.clone(),
            versions.clone(),
        ))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    let seen = tails.finish().await;

    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    for reader in seen {
        assert_eq!(reader.findings(&log), Vec::<String>::new());
    }
    assert_load_was_load(&ledger);
    pipeline
        .run("projector", &["store", "info", "--check"])
        .await;
    a_changed_payload_is_told_by_the_digest(&pipeline).await;
}

async fn write(
    number: usize,
    writer: Writer,
    nodes: [String; 2],
    users: Vec<Uuid>,
    versions: Versions,
) {
    let mut dice = Dice::new(number);
    for _ in 0..COMMANDS_EACH {
        // Half of the commands go to a few streams, so that they meet.
        let among = [20, users.len()][dice.roll(2)];
        let user = users[dice.roll(among)];
        let mut command = Command::rename(user, &format!("by {number}"));
        if dice.roll(3) == 0 {
            let known = versions.lock().expect("no panic").get(&user).copied();
            command = command.if_match(known.unwrap_or(1));
        }
        let answer = writer.send(&nodes[dice.roll(2)], command).await;
        let answer = answer.expect("an answer");
        assert!(
            matches!(answer.status, 200 | 412 | 503),
            "{}",
            answer.text()
        );
        if let Some(version) = answer.version() {
            let mut versions = versions.lock().expect("no panic");
            let known = versions.entry(user).or_default();
            *known = version.max(*known);
        }
    }
}

/// Most commands were done, some demanded versions had gone by, and nobody was left in the dark.
fn assert_load_was_load(ledger: &Ledger) {
    let (mut done, mut mismatched, mut later, mut unknown) = (0, 0, 0, 0);
    for line in ledger.lines() {
        match line.outcome {
            Outcome::Done { .. } => done += 1,
            Outcome::Refused(412, _) => mismatched += 1,
            Outcome::Refused(..) => later += 1,
            Outcome::Unknown | Outcome::NotAccepted => unknown += 1,
        }
    }
    let counts = format!("{done} done, {mismatched} 412, {later} 503, {unknown} unknown");
    assert!(done > STREAMS + WRITERS * COMMANDS_EACH / 2, "{counts}");
    assert!(mismatched > 0 && unknown == 0, "{counts}");
    assert!(later < WRITERS * COMMANDS_EACH / 10, "{counts}");
}

/// The checker itself can fail.
async fn a_changed_payload_is_told_by_the_digest(pipeline: &Pipeline) {
    const CHANGE: &str = "
        update event_store.event set payload = '{\"name\": \"Eve\"}'
        where (partition, position) = (
            select partition, position from event_store.event
            where event_type = 'UserProfileUpdated' limit 1)";
    let changed = sqlx::query(CHANGE).execute(&pipeline.pool()).await;
    assert_eq!(changed.expect("a changed row").rows_affected(), 1);
    let output = pipeline
        .try_run("projector", &["store", "info", "--check"])
        .await;
    assert!(!output.status.success(), "a changed payload went unnoticed");
}
