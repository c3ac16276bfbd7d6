//! The proof that the loop is open.

use crate::program::Load;
use crate::server::Bug;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_for_a_second_at_1000_a_second_shows_a_p99_of_at_least_800_ms() {
    let load = Load::new(Bug::Stalls, r#"["read"]"#).await;
    let output = load.run(&["--rate", "1000", "--duration", "5s"]).await;
    let report = load.report();
    let run = &report.runs[0];
    assert!(run.latency.p99 >= 800.0, "{:?}", run.latency);
    // All of them were sent: nothing was left out because the server was slow.
    assert!(run.attempted > 4_500, "{}", run.attempted);
    assert_eq!(output.status.code(), Some(1));
    let missed = report
        .verdict
        .reasons
        .iter()
        .any(|reason| reason.starts_with("missed p99"));
    assert!(missed, "{:?}", report.verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_that_is_too_slow_makes_the_run_void() {
    let load = Load::new(Bug::None, r#"["read"]"#).await;
    // Nothing begins within no time at all.
    let output = load
        .run(&["--rate", "200", "--duration", "1s", "--late-after", "0s"])
        .await;
    let report = load.report();
    assert_eq!(output.status.code(), Some(1));
    let void = report.runs[0].void.clone().expect("void");
    assert!(void.contains("began on time"), "{void}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_longer_than_the_timeout_is_an_error() {
    let load = Load::new(Bug::Stalls, r#"["read"]"#).await;
    load.run(&["--rate", "100", "--duration", "4s", "--timeout", "200ms"])
        .await;
    let report = load.report();
    let run = &report.runs[0];
    let timeouts = run.failures.iter().find(|found| found.kind == "timeout");
    assert!(timeouts.is_some_and(|found| found.count > 10), "{run:?}");
    assert_eq!(run.attempted, run.good + run.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_wait_behind_too_many_is_not_sent_and_an_error() {
    let load = Load::new(Bug::Stalls, r#"["read"]"#).await;
    load.run(&[
        "--rate",
        "300",
        "--duration",
        "4s",
        "--outstanding-max",
        "100",
    ])
    .await;
    let report = load.report();
    let run = &report.runs[0];
    let left_out = run.failures.iter().find(|found| found.kind == "not_sent");
    assert!(left_out.is_some_and(|found| found.count > 50), "{run:?}");
    assert!(run.attempted > 1_000, "{}", run.attempted);
}
