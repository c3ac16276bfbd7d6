//! What the operator sees.

use std::process::Output;

use testkit::history::{active, registered};
use uuid::Uuid;

use crate::world::{World, projector};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn help(arguments: &[&str]) -> String {
    let output = projector(arguments).env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn help_is_what_it_was() {
    insta::assert_snapshot!("help", help(&["--help"]));
    insta::assert_snapshot!("help_status", help(&["status", "--help"]));
    insta::assert_snapshot!("help_parked", help(&["parked", "--help"]));
    insta::assert_snapshot!("help_store", help(&["store", "--help"]));
    insta::assert_snapshot!("help_topics", help(&["topics", "--help"]));
    insta::assert_snapshot!("help_relay", help(&["relay", "refill", "--help"]));
    insta::assert_snapshot!("help_rebuild", help(&["rebuild", "--help"]));
    insta::assert_snapshot!("help_gc", help(&["gc", "--help"]));
}

#[test]
fn wrong_settings_are_all_named_before_anything_starts() {
    let run = [
        "run",
        "--projector-lease",
        "10",
        "--projection-batch-events",
        "0",
    ];
    let output = projector(&run).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let errors = stderr(&output);
    for name in ["PROJECTOR_LEASE", "PROJECTION_BATCH_EVENTS", "DATABASE_URL"] {
        assert!(errors.contains(name), "{name} in: {errors}");
    }
}

#[test]
fn a_database_that_does_not_answer_is_an_error() {
    let mut command = projector(&["status"]);
    command.env("DATABASE_URL", "postgres://nobody:hidden@127.0.0.1:1/none");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("error: "),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("hidden"), "{}", stderr(&output));
}

/// `projector … | head`: whoever reads has had enough, and that is no failure.
#[test]
fn a_reader_who_has_had_enough_is_no_error() {
    let mut command = projector(&["completions", "bash"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(help(&["completions", shell]).contains("projector"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_position_head_and_lag_per_partition() {
    let mut world = World::new().await;
    let ids = (1..=6).map(Uuid::from_u128);
    let events = ids.map(|id| {
        (
            id,
            registered(
                id,
                "Ann",
                "eu-west",
                id.as_u128().to_be_bytes().repeat(2).try_into().unwrap(),
            ),
        )
    });
    world.append(events.collect()).await;
    assert!(stdout(&world.projector(&["status"])).contains("no projection has begun yet"));
    let daemon = world.start();
    world.settled().await;
    assert_eq!(daemon.terminate().await, Some(0));
    let output = world.projector(&["status", "--output", "json"]);
    assert!(output.status.success());
    insta::assert_snapshot!("status", stdout(&output));
    world.append(vec![(Uuid::from_u128(1), active(1))]).await;
    let table = stdout(&world.projector(&["status", "user_view"]));
    assert!(
        table.contains("LAG SECONDS") && !table.contains('\x1b'),
        "{table}"
    );
    assert_eq!(table.lines().count(), 5, "{table}");
    assert_eq!(table.matches("nobody can (revision 1)").count(), 4);
    assert_eq!(
        world.projector(&["status", "elsewhere"]).status.code(),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_listed_shown_retried_and_given_up_and_no_personal_value_is_printed() {
    let mut world = World::new().await;
    let id = Uuid::from_u128(7);
    world
        .append(vec![(id, registered(id, "Ann", "eu-west", [1; 32]))])
        .await;
    let secret = registered(id, "Canary-Name", "eu-west", [2; 32]);
    let poison = world.append_unknown(id, &secret).await;
    let other = Uuid::from_u128(8);
    world
        .append(vec![(other, registered(other, "Bob", "eu-west", [3; 32]))])
        .await;
    let daemon = world.start();
    world.settled().await;
    let address = poison.address.to_string();

    let list = stdout(&world.projector(&["parked", "list"]));
    assert!(
        list.contains(&address) && list.contains("unknown_version"),
        "{list}"
    );
    let shown = stdout(&world.projector(&["parked", "show", "user_view", &address]));
    assert!(shown.contains(r#""behind": 0"#), "{shown}");
    let retried = world.projector(&["parked", "retry", "user_view", "--all"]);
    assert_eq!(retried.status.code(), Some(1), "it is stuck again");
    let given_up = world.projector(&["parked", "discard", "user_view", &address]);
    assert!(given_up.status.success(), "{}", stderr(&given_up));
    assert!(
        stdout(&given_up).contains("the key is free"),
        "{}",
        stdout(&given_up)
    );
    assert!(stdout(&world.projector(&["parked", "list"])).contains("nothing is parked"));
    let again = world.projector(&["parked", "discard", "user_view", &address]);
    assert_eq!(again.status.code(), Some(1));
    for said in [
        list,
        shown,
        stdout(&retried),
        stderr(&retried),
        stderr(&again),
    ] {
        assert!(
            !said.contains("Canary") && !said.contains("example.org"),
            "{said}"
        );
    }
    assert_eq!(daemon.terminate().await, Some(0));
    world.log.retain(|event| event.event_version == 1);
    world.assert_shown_rows_are_the_fold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_tells_what_it_is_and_can_be_forked() {
    let mut world = World::new().await;
    let checked = world.projector(&["store", "info", "--check"]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert_eq!(
        stdout(&checked).matches("sound").count(),
        4,
        "{}",
        stdout(&checked)
    );
    let info = stdout(&world.projector(&["store", "info", "--output", "json"]));
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(
        (&info["partitions"], &info["incarnation"]),
        (&4.into(), &1.into())
    );
    let foretold = world.projector(&["store", "fork", "--dry-run", "--above", "4"]);
    assert!(
        stdout(&foretold).contains("incarnation 5 would follow 1")
            && stdout(&foretold).contains("nothing was done"),
        "{}",
        stderr(&foretold)
    );
    let forked = world.projector(&["store", "fork"]);
    assert!(
        stdout(&forked).contains("incarnation 2 has begun"),
        "{}",
        stderr(&forked)
    );
    let above = world.projector(&["store", "fork", "--above", "9"]);
    assert!(
        stdout(&above).contains("incarnation 10 has begun"),
        "{}",
        stderr(&above)
    );
    // These events did not come through the append, so the digest knows nothing of them.
    let id = Uuid::from_u128(9);
    world
        .append(vec![(id, registered(id, "Ann", "eu-west", [1; 32]))])
        .await;
    let checked = world.projector(&["store", "info", "--check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        stderr(&checked).contains("1 partitions are not what"),
        "{}",
        stderr(&checked)
    );
}
