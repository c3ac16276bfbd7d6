//! The store loses its tail: its schema is put back from an older dump. After `projector store
//! fork` nothing that was lost is served: its tokens say so, its rows go, and what is left is
//! filled again.

use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use sqlx::Executor as _;
use testkit::cluster::program;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Answer, Ledger, Pipeline, Service};
use uuid::Uuid;

use crate::reader::Reader;
use crate::scene::{APPLIED_WITHIN, admin, register};

/// How long command-api may take to see what was put back.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
const USERS: usize = 8;

const SHOWN: (u16, &str) = (200, "");
const LOST: (u16, &str) = (409, "write_lost");

fn path(user: Uuid) -> String {
    format!("/{user}")
}

async fn done(writer: &Writer, node: &str, command: Command) -> Answer {
    let answer = writer.send(node, command).await.expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_older_dump_and_a_fork_nothing_lost_is_served_and_what_is_left_is_the_truth() {
    let pipeline = Pipeline::create().await;
    let (command, query, mut projector) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::Projector),
    );
    let node = command.url();
    let reader = Reader::of(&pipeline, &query);
    let before = admin(&pipeline, &Ledger::default());
    let kept = register(&before, std::slice::from_ref(&node), USERS).await;
    let kept_write = done(&before, &node, Command::rename(kept[0], "kept")).await;
    let dump = pipeline.home().join("event_store.dump");
    dump_store(&pipeline, &dump);

    // In every partition, so that each of them has lost something.
    let lost = register(&before, std::slice::from_ref(&node), 2 * USERS).await;
    let lost_write = done(&before, &node, Command::rename(kept[0], "lost")).await;
    let lost_token = lost_write.token().expect("a token").to_owned();
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;
    assert_eq!(
        reader.read(&path(kept[0]), Some(&lost_token)).await.json()["name"],
        "lost"
    );
    assert_eq!(reader.read(&path(lost[0]), None).await.status, 200);

    projector.stop().await;
    restore_store(&pipeline, &dump).await;
    pipeline.run("projector", &["store", "fork"]).await;
    let answer = reader
        .answers(&path(kept[0]), Some(&lost_token), LOST)
        .await;
    assert_eq!(
        answer.header("retry-after"),
        None,
        "it will never be better"
    );
    // Nobody has begun the new generation yet, and the old one holds what was lost.
    for user in [kept[0], lost[0]] {
        let answer = reader.answers(&path(user), None, (503, "filling")).await;
        assert!(answer.is_retry_later());
    }

    projector.start_again().await;
    // What a process that lived through it appends now follows what was restored.
    let after = Ledger::default();
    let renamed = Command::rename(kept[1], "after");
    let written = testkit::eventually(HEALED_WITHIN, || async {
        let answer = admin(&pipeline, &after).send(&node, renamed.clone()).await;
        let answer = answer.expect("an answer");
        answer
            .is_success()
            .then_some(answer.clone())
            .ok_or(answer.text())
    })
    .await;
    assert_eq!(written.version(), Some(2));
    let token = written.token().expect("a token");
    assert!(token.starts_with("2."), "{token} is of the new incarnation");
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;

    let shown = reader
        .answers(&path(kept[0]), kept_write.token(), SHOWN)
        .await;
    assert_eq!(shown.json()["name"], "kept");
    let shown = reader.answers(&path(kept[1]), Some(token), SHOWN).await;
    assert_eq!(shown.json()["name"], "after");
    let gone = (404, "user_not_found");
    reader.answers(&path(lost[0]), None, gone).await;
    reader
        .answers(&path(kept[0]), Some(&lost_token), LOST)
        .await;
    pipeline.event_log().await.assert_sound();
    pipeline
        .run("projector", &["store", "info", "--check"])
        .await;
}

fn dump_store(pipeline: &Pipeline, file: &Path) {
    let mut program = Program::new(program("pg_dump").expect("a server"));
    program.args(["--schema=event_store", "--format=custom"]);
    succeeds(
        program
            .arg("--dbname")
            .arg(plain_url(pipeline))
            .arg("--file")
            .arg(file),
    );
}

/// Without our driver's own parameters.
fn plain_url(pipeline: &Pipeline) -> String {
    let url = pipeline.database_url();
    url.split_once('?')
        .map_or(url.clone(), |(plain, _)| plain.to_owned())
}

async fn restore_store(pipeline: &Pipeline, file: &Path) {
    let dropped = pipeline
        .pool()
        .execute("drop schema event_store cascade")
        .await;
    dropped.expect("the schema is dropped");
    let mut program = Program::new(program("pg_restore").expect("a server"));
    program.args(["--exit-on-error", "--single-transaction"]);
    succeeds(program.arg("--dbname").arg(plain_url(pipeline)).arg(file));
}

fn succeeds(program: &mut Program) {
    let output = program.output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {text}");
}
