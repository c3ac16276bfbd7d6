//! The process before it works: it can be looked at and stopped while it waits for its database.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;
use testkit::pipeline::process::{Process, Signal};

use crate::app::{AUDIENCE, ISSUER, SECRET};

/// An address that nobody listens on.
fn free() -> String {
    format!("127.0.0.1:{}", testkit::spare_port())
}

#[tokio::test]
async fn while_its_database_is_away_the_process_says_that_it_starts_and_sigterm_ends_it_with_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let (admin, database) = (free(), format!("postgres://nobody@{}/none", free()));
    let environment = [
        ("DATABASE_URL", database.as_str()),
        ("COMMAND_LISTEN", "127.0.0.1:0"),
        ("ADMIN_LISTEN", &admin),
        ("JWKS", "https://issuer.example/jwks.json"),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("SECRET_KEY", SECRET),
        // Nobody has seen it ready, so nobody needs this time to notice that it is not.
        ("SHUTDOWN_WAIT", "30s"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let binary = Path::new(env!("CARGO_BIN_EXE_command-api"));
    let mut process = Process::spawn(binary, &environment, &folder.path().join("log"));

    let url = format!("http://{admin}");
    let healthz = format!("{url}/healthz");
    eventually(Duration::from_secs(20), || async {
        match reqwest::get(&healthz).await {
            Ok(answer) if answer.status() == 200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let answer = reqwest::get(format!("{url}/readyz")).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 503);
    let report: Value = answer.json().await.expect("a report");
    assert_eq!(report["starting"], true, "{report}");

    process.signal(Signal::Terminate);
    let ended = process.wait(Duration::from_secs(10)).await;
    assert!(ended.success(), "{ended}");
}
