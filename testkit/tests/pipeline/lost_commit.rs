//! The answer to COMMIT is lost: it may still be on its way to the server, it may have arrived, it
//! may never. What the client is told is true afterwards.

use std::time::Duration;

use futures_util::future::join_all;
use testkit::pipeline::command::Command;
use testkit::pipeline::proxy::{CommitFate, Proxy};
use testkit::pipeline::{Answer, Ledger, Pipeline, Service};

use crate::scene::{admin, register};

const USERS: usize = 12;
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_command_whose_commit_was_cut_off_is_true_afterwards() {
    let pipeline = Pipeline::create().await;
    let proxy = Proxy::start(&pipeline.database().options()).await;
    let through = proxy.url(&pipeline.database().options());
    let settings = [("DATABASE_URL", through.as_str())];
    let node = pipeline.start_with(Service::CommandApi, &settings).await;
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &[node.url()], USERS).await;
    let fates = [
        // It has arrived; only its answer is lost.
        CommitFate::Late(Duration::ZERO),
        // It hangs, and its locks with it: a look-up that does not wait for them would say "none".
        CommitFate::Late(Duration::from_millis(600)),
        CommitFate::Swallowed,
    ];
    for round in 0..ROUNDS {
        for fate in fates {
            let before = pipeline.event_log().await.entries.len();
            proxy.lose_next_commit(fate);
            let url = node.url();
            let sends = users.iter().map(|user| {
                let command = Command::rename(*user, &format!("round {round} {fate:?}"));
                writer.send(&url, command)
            });
            let answers = join_all(sends).await;
            assert!(proxy.has_lost_commit(), "no commit came by");
            let answers: Vec<Answer> = answers
                .into_iter()
                .map(|one| one.expect("an answer"))
                .collect();
            for answer in &answers {
                let is_known = answer.status == 200 || answer.is_retry_later();
                assert!(is_known, "{fate:?}: {} {}", answer.status, answer.text());
            }
            if matches!(fate, CommitFate::Late(_)) {
                // The server came back at once, so nobody needs to stay in the dark.
                let done = answers.iter().filter(|answer| answer.status == 200).count();
                assert_eq!(done, USERS, "{fate:?}");
                let after = pipeline.event_log().await.entries.len();
                assert_eq!(after, before + USERS, "{fate:?}");
            }
        }
    }
    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    pipeline
        .run("projector", &["store", "info", "--check"])
        .await;
}
