//! Planted bugs: each is seen, named, and fails the run.

use crate::program::{ALL, Load};
use crate::server::Bug;

const LOOSE: [&str; 12] = [
    "--rate",
    "300",
    "--duration",
    "2s",
    "--p50-max",
    "5s",
    "--p95-max",
    "5s",
    "--p99-max",
    "5s",
    "--late-after",
    "10s",
];

async fn violated(bug: Bug) -> Vec<String> {
    let load = Load::new(bug, ALL).await;
    let output = load.run(&LOOSE).await;
    let report = load.report();
    assert_eq!(output.status.code(), Some(1), "{bug:?}");
    let violations = &report.runs[0].violations;
    assert!(
        violations
            .iter()
            .all(|found| found.example.contains("request r-1")),
        "{violations:?}"
    );
    violations.iter().map(|found| found.kind.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_promise_is_a_violation_of_its_name() {
    let cases = [
        (Bug::ShowsOldVersions, "version_went_back"),
        (Bug::LosesTexts, "write_not_shown"),
        (Bug::ShowsAnother, "another_account"),
        (Bug::MixesTenants, "foreign_account"),
        (Bug::InventsAccounts, "read_of_nobody"),
        (Bug::RepeatsItems, "list_order"),
        (Bug::SortsBatches, "batch_order"),
        (Bug::HidesMissing, "batch_missing"),
        (Bug::DropsTokens, "no_token"),
        (Bug::RepeatsVersions, "version_given_twice"),
    ];
    for (bug, rule) in cases {
        let found = violated(bug).await;
        assert!(
            found.iter().any(|found| found == rule),
            "{bug:?}: {found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_requests_are_errors_by_status_and_code_and_no_violations() {
    let load = Load::new(Bug::Fails, r#"["read"]"#).await;
    let output = load.run(&LOOSE).await;
    let report = load.report();
    assert_eq!(output.status.code(), Some(1));
    let run = &report.runs[0];
    assert!(
        (0.85..0.95).contains(&run.availability),
        "{}",
        run.availability
    );
    assert_eq!(run.failures[0].kind, "503 unavailable");
    assert_eq!(run.violations, []);
    let missed = report
        .verdict
        .reasons
        .iter()
        .any(|reason| reason.starts_with("missed errors"));
    assert!(missed, "{:?}", report.verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_seen_late_has_its_lag() {
    let load = Load::new(Bug::Lags, r#"["update", "read_own"]"#).await;
    load.run(&LOOSE).await;
    let visibility = load.report().runs[0].visibility.clone();
    assert!(
        visibility.lag.p50 >= 100.0 && visibility.lag.count > 5,
        "{visibility:?}"
    );
}
