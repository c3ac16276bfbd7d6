//! I1 under kill -9 of command-api: what was acknowledged is there, what was refused is not, what
//! is unknown is there once or not at all.

use testkit::pipeline::ledger::Outcome;
use testkit::pipeline::{Ledger, Pipeline, Service};

use crate::scene::{Load, admin, at_random, register};

const USERS: usize = 40;
const WRITERS: usize = 32;
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_were_told_stays_true_when_command_processes_are_killed_under_load() {
    let pipeline = Pipeline::create().await;
    let (mut first, mut second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let nodes = vec![first.url(), second.url()];
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &nodes, USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(nodes));
    for kill in 0..KILLS {
        load.more(150).await;
        let victim = if kill % 2 == 0 {
            &mut first
        } else {
            &mut second
        };
        victim.kill();
        load.more(60).await;
        victim.start_again().await;
    }
    load.more(100).await;
    load.stop().await;

    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    let lines = ledger.lines();
    let count =
        |wanted: fn(&Outcome) -> bool| lines.iter().filter(|line| wanted(&line.outcome)).count();
    let unknown = count(|outcome| *outcome == Outcome::Unknown);
    let refused = count(|outcome| *outcome == Outcome::NotAccepted);
    // The kills were felt: otherwise nothing was shown.
    assert!(
        unknown > 0 && refused > 0,
        "{unknown} unknown, {refused} refused connections"
    );
    assert!(ledger.done() > 400, "{} done", ledger.done());
    pipeline
        .run("projector", &["store", "info", "--check"])
        .await;
}
