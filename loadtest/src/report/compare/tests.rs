//! The judgement on noise, the warnings, and the ways in which a file is no report.

use super::super::examples;
use super::*;

fn judged(comparison: &Comparison, name: &str) -> Judgement {
    let row = comparison.rows.iter().find(|row| row.name == name);
    row.expect("a row of that name").judgement
}

#[test]
fn a_change_larger_than_the_spread_of_both_sides_is_better_or_worse() {
    let (slow, fast) = (examples::seeds(1.0), examples::seeds(0.5));
    assert_eq!(judged(&compare(&slow, &fast), "p50"), Judgement::Better);
    assert_eq!(judged(&compare(&fast, &slow), "p50"), Judgement::Worse);
}

#[test]
fn a_change_of_median_with_overlapping_ranges_is_within_the_noise() {
    let comparison = compare(&examples::seeds(1.0), &examples::seeds(1.1));
    let p50 = &comparison.rows[1];
    assert!(p50.change.is_some_and(|change| change > 0.05), "{p50:?}");
    assert_eq!(p50.judgement, Judgement::WithinNoise);
}

#[test]
fn a_higher_rate_is_better_and_more_errors_are_worse() {
    let a = examples::seeds(1.0);
    let mut b = a.clone();
    for run in &mut b.runs {
        run.achieved_rate *= 2.0;
        run.errors = 10;
    }
    let comparison = compare(&a, &b);
    assert_eq!(judged(&comparison, "good answers"), Judgement::Better);
    assert_eq!(judged(&comparison, "errors"), Judgement::Worse);
    assert_eq!(judged(&comparison, "availability"), Judgement::Same);
}

#[test]
fn one_run_a_side_has_no_noise_however_far_apart_they_are() {
    let (a, mut b) = (examples::passing(), examples::passing());
    b.runs[0].latency.p50 *= 100.0;
    let comparison = compare(&a, &b);
    assert!(
        comparison
            .rows
            .iter()
            .all(|row| row.judgement == Judgement::NoNoiseKnown)
    );
    assert!(
        comparison
            .text(false, 100)
            .contains("One run each: no noise known")
    );
}

#[test]
fn what_makes_two_reports_incomparable_is_said_first() {
    let (a, mut b) = (examples::seeds(1.0), examples::failing());
    b.machine.cores = 2;
    b.scenario_text.push_str("# other");
    b.settings[0].value = "100/s".to_owned();
    b.settings.pop();
    b.runs[0].operations[2].name = "follow_user".to_owned();
    let comparison = compare(&a, &b);
    let text = comparison.text(false, 100);
    for expected in [
        "another text in b",
        "other machines",
        "1 of 2 runs of b are void",
        "b has 19 violations",
        "operations that only b has: follow_user",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    let names: Vec<_> = comparison
        .differences
        .iter()
        .map(|d| d.name.as_str())
        .collect();
    assert_eq!(names, ["rate", "tenants"]);
    assert_eq!(comparison.differences[1].b, None);
}

#[test]
fn equal_reports_differ_in_nothing() {
    let report = examples::seeds(1.0);
    let comparison = compare(&report, &report);
    assert!(comparison.warnings.is_empty() && comparison.differences.is_empty());
    assert!(
        comparison
            .rows
            .iter()
            .all(|row| row.change.unwrap_or(0.0) == 0.0)
    );
}

#[test]
fn the_text_fits_a_page() {
    let comparison = compare(&examples::seeds(1.0), &examples::seeds(0.6));
    insta::assert_snapshot!(comparison.text(false, 100));
}

#[test]
fn an_empty_report_compares_without_figures() {
    let text = compare(&examples::seeds(1.0), &examples::empty()).text(false, 100);
    assert!(
        text.contains("b measured nothing") && text.contains("no noise known"),
        "{text}"
    );
}

#[track_caller]
fn check_refused(content: &str, expected: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.json");
    std::fs::write(&path, content).expect("a file is written");
    let error = read(&path).expect_err("it is no report").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_file_that_is_no_report_says_why_it_is_none() {
    check_refused("<!doctype html>", "is not JSON");
    check_refused("{\"format\": 7}", "has format 7, this loadtest reads 1");
    check_refused("[1, 2]", "is not a report of loadtest");
    check_refused("{\"format\": 1, \"runs\": []}", "is not a whole report");
    let error = read("/nowhere/a.json".as_ref()).expect_err("there is no such file");
    assert_eq!(error.to_string(), "cannot read /nowhere/a.json");
}

#[test]
fn a_written_report_is_read_back_and_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    for (name, report) in examples::all() {
        let text = serde_json::to_vec(&report).expect("a report becomes JSON");
        std::fs::write(&path, text).expect("a file is written");
        let back = read(&path).expect(name);
        // Numbers may differ in their last bit.
        let summary = |report| crate::report::terminal::summary(report, false, 80);
        assert_eq!(summary(&back), summary(&report), "{name}");
    }
}
