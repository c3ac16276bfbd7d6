//! The whole text of what a terminal shows, for a run of each kind.

use super::super::examples;
use super::*;

#[test]
fn a_run_that_passed_ends_in_its_verdict() {
    insta::assert_snapshot!(summary(&examples::seeds(1.0), false, 80));
}

#[test]
fn a_run_that_failed_names_what_failed_with_an_example_of_each() {
    let text = summary(&examples::failing(), false, 80);
    assert!(
        text.lines()
            .last()
            .unwrap_or_default()
            .starts_with("MISSED: ")
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_search_tells_each_rate_that_it_tried() {
    insta::assert_snapshot!(summary(&examples::search(), false, 60));
}

#[test]
fn a_run_that_ended_at_once_says_so() {
    insta::assert_snapshot!(summary(&examples::empty(), false, 80));
}

#[test]
fn colours_change_nothing_but_colours() {
    let report = examples::failing();
    let plain = summary(&report, false, 80);
    let mut coloured = summary(&report, true, 80);
    assert_ne!(coloured, plain);
    for code in ["1;31", "1", "2", "32", "0"] {
        coloured = coloured.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(coloured, plain);
}
