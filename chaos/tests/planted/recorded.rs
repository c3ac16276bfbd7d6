//! The same with a history that a real run left (`chaos run --without kafka --rounds 0
//! --calm-seconds 1 --sessions 2 --keep`): what processes really answer and tables really hold.

use std::path::Path;

use chaos::check::{Invariant, check};
use chaos::history::{Folder, History, Kind, Outcome};

use crate::assert_breaks;

fn recorded() -> History {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    Folder::at(&folder).read().expect("the recorded history")
}

#[test]
fn a_recorded_history_passes() {
    let report = check(&recorded());
    assert!(report.is_good(), "{report}");
}

#[test]
fn an_acknowledgement_without_a_position_breaks_i1() {
    let mut history = recorded();
    let is_last = |op: &&mut chaos::history::Operation| {
        op.kind == Kind::Change && op.outcome == Outcome::Ok && op.key.is_none()
    };
    let command = history.operations.iter_mut().rev().find(is_last);
    let command = command.expect("an acknowledged command without a key");
    command.token = None;
    assert_breaks(&history, Invariant::I1);
}

#[test]
fn a_position_that_a_reader_skipped_breaks_i3() {
    let mut history = recorded();
    history.seen.remove(0);
    assert_breaks(&history, Invariant::I3);
}

#[test]
fn an_older_value_in_the_cache_breaks_i11() {
    let mut history = recorded();
    let mut cached = history.cached.iter_mut();
    let value = cached.find(|line| line.is_live).expect("a cached value");
    value.body["version"] = 0.into();
    assert_breaks(&history, Invariant::I11);
}

#[test]
fn another_tenants_answer_breaks_i9() {
    let mut history = recorded();
    let reads = history.operations.iter();
    let is_shown = |op: &&chaos::history::Operation| {
        op.kind == Kind::Read && op.outcome == Outcome::Ok && !op.is_settled
    };
    let reads: Vec<_> = reads.filter(is_shown).cloned().collect();
    let body = reads[0].body.clone();
    let other = reads.iter().find(|op| op.tenant != reads[0].tenant);
    let other = other.expect("a read of another tenant").request.clone();
    let mut operations = history.operations.iter_mut();
    let other = operations.find(|op| op.request == other);
    other.expect("it").body = body;
    assert_breaks(&history, Invariant::I9);
}
