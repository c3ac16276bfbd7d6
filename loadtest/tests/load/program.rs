//! Runs the program, and what it says about its arguments and its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use loadtest::report::Report;
use serde_json::json;
use tempfile::TempDir;

use crate::server::{self, Bug, Server};

/// What all flows of the tests' scenario are.
pub(crate) const ALL: &str = r#"["register", "update", "read_own", "activity", "read",
    "read_unchanged", "read_missing", "read_foreign", "batch", "find", "list", "list_region"]"#;

/// A folder with tokens and a scenario.
pub(crate) struct Load {
    folder: TempDir,
    server: Server,
}

impl Load {
    /// One flow of these steps, against a server with this bug.
    pub(crate) async fn new(bug: Bug, steps: &str) -> Self {
        let server = server::start(bug).await;
        let folder = tempfile::tempdir().expect("a folder");
        let scenario = format!(
            "about = \"a test\"\nidempotency_keys = 0.5\n[population]\nusers = 100\ntenants = 2\n\
             keys = {{ distribution = \"uniform\" }}\n[[flow]]\nweight = 1\nsteps = {steps}\n"
        );
        std::fs::write(folder.path().join("scenario.toml"), scenario).expect("a file");
        let tokens = [("a", "red"), ("b", "blue")].map(|(sub, tenant)| {
            let claims = json!({ "sub": sub, "tenant": tenant, "role": "admin" });
            format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))
        });
        std::fs::write(folder.path().join("tokens"), tokens.join("\n")).expect("a file");
        Self { folder, server }
    }

    /// The command that runs it, with these arguments, too.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.path(name).to_string_lossy().into_owned();
        let base = &self.server.base;
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command
            .args(["run", &path("scenario.toml"), "--tokens", &path("tokens")])
            .args(["--command-url", base, "--query-url", base])
            .args(["--warm-up", "500ms", "--out", &path("out")])
            .args(arguments);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.expect("a task").expect("the program runs")
    }

    /// Its report.
    pub(crate) fn report(&self) -> Report {
        let text = std::fs::read(self.path("out/report.json")).expect("a report");
        serde_json::from_slice(&text).expect("a report")
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_server_passes_and_everything_was_asked() {
    let load = Load::new(Bug::None, ALL).await;
    let limits = [
        "--p50-max",
        "5s",
        "--p95-max",
        "5s",
        "--p99-max",
        "5s",
        "--late-after",
        "10s",
    ];
    let sizes = ["--rate", "300", "--duration", "2s", "--rate-min", "50%"];
    let output = load.run(&[&limits[..], &sizes[..]].concat()).await;
    let report = load.report();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{:?} {}",
        report.verdict,
        text(&output.stderr)
    );
    let run = &report.runs[0];
    assert!(
        run.operations
            .iter()
            .all(|operation| operation.attempted > 0),
        "{run:?}"
    );
    assert_eq!(run.operations.len(), 12);
    assert_eq!(
        (run.errors, run.violations.len()),
        (0, 0),
        "{:?}",
        run.failures
    );
    let unchanged = run
        .operations
        .iter()
        .find(|known| known.name == "read_unchanged");
    assert!(
        unchanged.is_some_and(|known| known.statuses.contains_key("304")),
        "{run:?}"
    );
    assert!(run.visibility.lag.count > 0 && run.visibility.not_seen == 0);
    assert!(load.path("out/report.html").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_waits_for_its_answers() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let limits = ["--p50-max", "5s", "--p95-max", "5s", "--p99-max", "5s"];
    let output = load
        .run(&[&limits[..], &["--closed", "4", "--duration", "1s"]].concat())
        .await;
    let report = load.report();
    assert_eq!(output.status.code(), Some(0), "{:?}", report.verdict);
    assert_eq!(report.runs[0].target_rate, None);
    assert!(
        report.runs[0].attempted > 100,
        "{}",
        report.runs[0].attempted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_seeds_are_several_runs() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let sizes = [
        "--rate",
        "100",
        "--duration",
        "1s",
        "--seeds",
        "1,2",
        "--late-after",
        "10s",
    ];
    load.run(&sizes).await;
    let report = load.report();
    let seeds: Vec<_> = report.runs.iter().map(|run| run.seed).collect();
    assert_eq!(seeds, [1, 2]);
    assert!(
        report
            .objectives
            .iter()
            .all(|objective| objective.values.len() == 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_load_with_the_report_of_what_there_is() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let mut command = load.command(&["--rate", "100", "--duration", "10m"]);
    let child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let child = child.expect("the program runs");
    let is_loaded = load.server.is_loaded().await;
    let pid = child.id().to_string();
    let told = Command::new("kill").args(["-INT", &pid]).status();
    assert!(told.is_ok_and(|told| told.success()));
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    let output = output.expect("a task").expect("an end");
    assert!(is_loaded, "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let report = load.report();
    assert!(report.verdict.interrupted);
    assert!(
        report.runs[0].attempted > 0 && report.runs[0].seconds < 60.0,
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_are_loaded_only_when_told() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let output = load.run(&["--metrics", "http://192.0.2.1/metrics"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("--allow-remote"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_before_any_load() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let output = load.run(&["--query-url", "http://127.0.0.1:9"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("http://127.0.0.1:9 cannot be reached") && said.contains("refused"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_a_runnels_is_said_at_once() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let elsewhere = format!("{}/elsewhere", load.server.base);
    for (url, action) in [
        ("--command-url", "registration"),
        ("--query-url", "reading"),
    ] {
        let output = load.run(&[url, &elsewhere]).await;
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(
            said.contains("route_unknown") && said.contains(action),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_cannot_be_read_are_said_before_the_load() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    let wrong = "http://127.0.0.1:9/metrics";
    let sizes = ["--rate", "50", "--duration", "1s", "--metrics", wrong];
    let said = text(&load.run(&sizes).await.stderr);
    let note = format!("note: no figures of the server at {wrong}");
    assert!(said.contains(&note), "{said}");
}

#[test]
fn a_wrong_command_line_is_64() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = command
        .args(["run", "mixed", "--rate", "0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
}

#[test]
fn a_graph_of_a_seed_is_written_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edges").to_string_lossy().into_owned();
    let said = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let output = command.arg("graph").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let drawn = said(&["--nodes", "1000", "--seed", "3", "--out", &file]);
    assert_eq!(said(&["--edges", &file]), drawn);
}
