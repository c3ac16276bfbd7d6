//! A store that lost its tail: what was lost may be in Kafka, stamped as void, and nowhere else.

use chaos::check::{Invariant, check};
use chaos::history::{Kind, Operation, Outcome};

use crate::assert_breaks;
use crate::story::{ACME, ADA, Story};

/// The store lost Ada's last event; the next incarnation has given its address away.
fn forked() -> Story {
    let mut story = Story::told();
    story.fork();
    story.write(ACME, ADA, "UserProfileUpdated", "of the new history");
    story
}

#[test]
fn a_history_with_a_failover_passes_when_what_was_lost_is_void() {
    let report = check(&forked().at_rest());
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_phantom_in_an_answer_after_the_failover_breaks_i15() {
    let mut story = Story::told();
    let phantom = story.state(ACME, ADA);
    story.fork();
    story.write(ACME, ADA, "UserProfileUpdated", "of the new history");
    let operation = story.operation(ACME, ADA, Kind::Read);
    story.history.operations.push(Operation {
        outcome: Outcome::Ok,
        status: Some(200),
        body: phantom.to_string(),
        token: Some("2.0.5".to_owned()),
        ..operation
    });
    assert_breaks(&story.at_rest(), Invariant::I15);
}

#[test]
fn a_lost_event_in_kafka_that_is_not_void_breaks_i15() {
    let mut story = Story::told();
    let lost = story.fork();
    story.write(ACME, ADA, "UserProfileUpdated", "of the new history");
    let mut history = story.at_rest();
    let mut lines = history.kafka.iter_mut();
    let is_lost = |event: &testkit::pipeline::log::LogEntry| event.event_id == lost.event_id;
    let line = lines.find(|line| line.event.as_ref().is_some_and(is_lost));
    line.expect("the lost record").incarnation = 2;
    assert_breaks(&history, Invariant::I15);
}

#[test]
fn a_phantom_row_after_the_failover_breaks_i15() {
    let mut history = forked().at_rest();
    history.rows[0].row.version += 1;
    // Nobody has looked at it.
    history.cached.retain(|line| line.id != ADA.to_string());
    let is_look = |op: &Operation| op.is_settled && op.user == Some(ADA);
    history.operations.retain(|op| !is_look(op));
    assert_breaks(&history, Invariant::I15);
}

#[test]
fn a_void_checkpoint_breaks_i15() {
    let mut history = forked().at_rest();
    history.checkpoints[0].incarnation = 1;
    assert_breaks(&history, Invariant::I15);
}
