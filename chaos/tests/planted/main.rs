//! The checker is checked: a good history passes, and each bug that is planted into it breaks
//! exactly the invariant that it should.

mod failover;
mod rest;
mod story;
mod writes;

use chaos::check::{Invariant, check};
use chaos::history::{Folder, History};

use story::Story;

/// Exactly this invariant is broken.
#[track_caller]
fn assert_breaks(history: &History, invariant: Invariant) {
    let report = check(history);
    let broken: Vec<_> = report.broken().into_iter().collect();
    assert_eq!(broken, [invariant], "{report}");
}

#[test]
fn a_good_history_passes() {
    let report = check(&Story::told().at_rest());
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_history_reads_back_from_its_folder_as_it_was_written() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(home.path());
    let history = Story::told().at_rest();
    folder.write(&history).expect("written");
    let read = folder.read().expect("read");
    assert_eq!(format!("{read:?}"), format!("{history:?}"));
    assert!(check(&read).is_good());
}

#[test]
fn a_check_over_nothing_is_a_failure() {
    let report = check(&History::default());
    assert!(!report.is_good());
    assert!(report.unchecked().len() > 10, "{report}");
}

#[test]
fn a_history_without_reads_is_a_failure_that_names_them() {
    let mut history = Story::told().at_rest();
    history
        .operations
        .retain(|operation| operation.kind.is_command());
    let report = check(&history);
    assert!(report.violations().is_empty(), "{report}");
    assert!(
        report.unchecked().iter().any(|what| what.contains("I7")),
        "{report}"
    );
}
