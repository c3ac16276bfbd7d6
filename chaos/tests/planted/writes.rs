//! Bugs of the write side: lost, doubled, reordered, skipped, acknowledged too early.

use chaos::check::Invariant;
use chaos::history::{History, KafkaLine, Kind, Operation, Outcome};

use crate::assert_breaks;
use crate::story::{ACME, ADA, BOB, Story, derive};

/// The last command, which nobody has read.
fn last_command(history: &mut History) -> &mut Operation {
    let mut operations = history.operations.iter_mut().rev();
    operations
        .find(|op| op.kind.is_command())
        .expect("a command")
}

#[test]
fn an_acknowledged_command_that_was_dropped_breaks_i1() {
    let mut story = Story::told();
    story.history.events.pop().expect("the unread event");
    assert_breaks(&story.at_rest(), Invariant::I1);
}

#[test]
fn an_acknowledgement_before_the_commit_breaks_i1() {
    let mut story = Story::told();
    let operation = story.operation(ACME, ADA, Kind::Change);
    story.history.operations.push(Operation {
        outcome: Outcome::Ok,
        status: Some(200),
        version: Some(4),
        token: Some("1.0.6".to_owned()),
        ..operation
    });
    assert_breaks(&story.at_rest(), Invariant::I1);
}

#[test]
fn an_unknown_command_with_two_effects_breaks_i1() {
    let mut story = Story::told();
    let operation = story.operation(ACME, BOB, Kind::Change);
    story.append(&operation, "UserProfileUpdated", "once");
    story.append(&operation, "UserProfileUpdated", "twice");
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I1);
}

#[test]
fn a_refused_command_that_left_an_event_breaks_i1() {
    let mut story = Story::told();
    let operation = story.operation(ACME, BOB, Kind::Change);
    story.append(&operation, "UserProfileUpdated", "refused");
    story.history.operations.push(Operation {
        outcome: Outcome::Refused,
        status: Some(503),
        ..operation
    });
    assert_breaks(&story.at_rest(), Invariant::I1);
}

#[test]
fn an_unknown_command_with_one_effect_or_none_is_fine() {
    let mut story = Story::told();
    for has_effect in [true, false] {
        let operation = story.operation(ACME, BOB, Kind::Change);
        if has_effect {
            story.append(&operation, "UserProfileUpdated", "once");
        }
        story.history.operations.push(operation);
    }
    let report = chaos::check::check(&story.at_rest());
    assert!(report.is_good(), "{report}");
}

#[test]
fn two_requests_of_one_key_with_two_effects_break_i10() {
    let mut story = Story::told();
    for name in ["once", "again"] {
        let mut operation = story.operation(ACME, BOB, Kind::Change);
        operation.key = Some("a key".to_owned());
        story.append(&operation, "UserProfileUpdated", name);
        story.history.operations.push(operation);
    }
    assert_breaks(&story.at_rest(), Invariant::I10);
}

#[test]
fn two_answers_to_one_key_break_i10() {
    let mut history = Story::told().at_rest();
    let mut operations = history.operations.iter_mut();
    let replayed = operations.find(|op| op.is_replayed).expect("a replay");
    replayed.status = Some(201);
    assert_breaks(&history, Invariant::I10);
}

#[test]
fn two_winners_of_one_version_break_i2() {
    let mut history = Story::told().at_rest();
    let command = last_command(&mut history);
    command.if_match = command.version;
    assert_breaks(&history, Invariant::I2);
}

#[test]
fn a_skipped_position_breaks_i3() {
    let mut story = Story::told();
    let event = story.history.events.last_mut().expect("an event");
    event.position += 1;
    let token = format!("1.{}.{}", event.partition, event.position);
    last_command(&mut story.history).token = Some(token);
    assert_breaks(&story.at_rest(), Invariant::I3);
}

#[test]
fn an_event_that_appears_below_a_readers_mark_breaks_i3() {
    let mut history = Story::told().at_rest();
    history.seen.remove(1);
    assert_breaks(&history, Invariant::I3);
}

#[test]
fn events_that_a_reader_met_out_of_order_break_i3() {
    let mut history = Story::told().at_rest();
    history.seen.swap(0, 1);
    assert_breaks(&history, Invariant::I3);
}

#[test]
fn a_command_below_one_that_was_known_when_it_was_sent_breaks_i3() {
    let mut story = Story::told();
    let first = story.write(ACME, BOB, "UserProfileUpdated", "one");
    let second = story.write(ACME, BOB, "UserProfileUpdated", "two");
    let operations = &mut story.history.operations;
    let (begun, ended) = (operations[first].begun, operations[first].ended);
    (operations[first].begun, operations[first].ended) =
        (operations[second].begun, operations[second].ended);
    (operations[second].begun, operations[second].ended) = (begun, ended);
    assert_breaks(&story.at_rest(), Invariant::I3);
}

#[test]
fn a_record_that_is_missing_in_kafka_breaks_i4() {
    let mut history = Story::told().at_rest();
    history.kafka.remove(1);
    assert_breaks(&history, Invariant::I4);
}

#[test]
fn records_that_kafka_has_reordered_break_i4() {
    let mut history = Story::told().at_rest();
    history.kafka.swap(1, 2);
    assert_breaks(&history, Invariant::I4);
}

#[test]
fn a_record_that_comes_twice_is_fine() {
    let mut history = Story::told().at_rest();
    let record = history.kafka[0].clone();
    history.kafka.insert(2, record);
    let report = chaos::check::check(&history);
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_record_before_the_first_event_breaks_i4() {
    let mut history = Story::told().at_rest();
    let record = history.kafka[2].clone();
    for line in history.kafka.iter_mut().filter(|line| line.partition == 0) {
        line.offset += 1;
    }
    history.kafka.insert(
        0,
        KafkaLine {
            offset: 0,
            ..record
        },
    );
    assert_breaks(&history, Invariant::I4);
}

#[test]
fn a_record_with_another_payload_breaks_i4() {
    let mut history = Story::told().at_rest();
    let event = history.kafka[1].event.as_mut().expect("an event");
    event.payload["region"] = "us".into();
    assert_breaks(&history, Invariant::I4);
}

#[test]
fn everything_after_the_events_follows_from_them() {
    let mut history = Story::told().at_rest();
    let before = format!("{history:?}");
    derive(&mut history, 1, vec![]);
    assert_eq!(format!("{history:?}"), before);
}
