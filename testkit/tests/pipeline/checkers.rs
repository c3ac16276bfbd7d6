//! The checkers are checked first: each planted bug is found, and an honest history is not.

use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::json;
use testkit::pipeline::ledger::{self, Line, Outcome};
use testkit::pipeline::log::{EventLog, LogEntry};
use testkit::pipeline::tail::Seen;
use testkit::pipeline::{canary, view};
use uuid::Uuid;

const ADA: Uuid = Uuid::from_u128(0xada);
const BOB: Uuid = Uuid::from_u128(0xb0b);

/// Ada and Bob in one partition: registered, then renamed in turns, a second between events.
fn honest_log() -> EventLog {
    let users = [
        (ADA, 1, 1),
        (BOB, 2, 1),
        (ADA, 1, 2),
        (BOB, 2, 2),
        (ADA, 1, 3),
    ];
    let entries = (1..)
        .zip(users)
        .map(|(position, (user, stream_no, sequence))| {
            let (event_type, payload) = match sequence {
                1 => (
                    "UserRegistered",
                    json!({"email": "a@example.org", "email_key": {"hash": "00"}, "name": "A ",
                       "region": "eu", "registered_at": "2026-01-01T00:00:00Z"}),
                ),
                _ => (
                    "UserProfileUpdated",
                    json!({"name": format!("name {position}")}),
                ),
            };
            LogEntry {
                partition: 0,
                position,
                stream_no,
                sequence,
                event_id: Uuid::from_u128(position.unsigned_abs().into()),
                tenant: "acme".to_owned(),
                aggregate_id: user.to_string(),
                event_type: event_type.to_owned(),
                payload,
                metadata: json!({ "request_id": format!("request {position}") }),
                recorded_at: DateTime::from_timestamp(position, 0).expect("a time"),
            }
        });
    EventLog {
        entries: entries.collect(),
        heads: [(0, 5)].into(),
    }
}

/// What the clients of that log were told, one after the other.
fn honest_lines() -> Vec<Line> {
    let start = Instant::now();
    let at = |position: i64, half| {
        start + Duration::from_millis(u64::try_from(position * 10 + half).expect("positive"))
    };
    let entries = honest_log().entries;
    let line = |entry: &LogEntry| Line {
        request_id: entry.request_id().expect("an id").to_owned(),
        tenant: entry.tenant.clone(),
        user: entry.aggregate_id.parse().expect("an id"),
        if_match: Some(entry.sequence - 1),
        sent: at(entry.position, 0),
        answered: at(entry.position, 5),
        outcome: Outcome::Done {
            version: entry.sequence,
            token: format!("1.0.{}", entry.position),
            replayed: false,
        },
    };
    entries.iter().map(line).collect()
}

#[test]
fn an_honest_history_is_not_doubted() {
    let log = honest_log();
    log.assert_sound();
    assert_eq!(
        ledger::findings(&honest_lines(), &log),
        Vec::<String>::new()
    );
    assert_eq!(seen(&log).findings(&log), Vec::<String>::new());
}

#[test]
fn a_dropped_duplicated_or_reordered_event_is_found_in_the_log() {
    let plants: [fn(&mut EventLog); 8] = [
        |log| _ = log.entries.remove(2),
        |log| _ = log.entries.pop(),
        |log| log.entries.insert(3, log.entries[2].clone()),
        |log| log.entries.swap(2, 3),
        |log| {
            // Two events of one stream change places, addresses and all but their contents.
            let (a, b) = (log.entries[2].sequence, log.entries[4].sequence);
            (log.entries[2].sequence, log.entries[4].sequence) = (b, a);
        },
        |log| log.entries[4].event_id = log.entries[3].event_id,
        |log| log.entries[3].recorded_at = log.entries[0].recorded_at,
        |log| log.entries[2].tenant = "evil".to_owned(),
    ];
    for (number, plant) in plants.into_iter().enumerate() {
        let mut log = honest_log();
        plant(&mut log);
        assert_ne!(log.findings(), Vec::<String>::new(), "plant {number}");
    }
}

fn seen(log: &EventLog) -> Seen {
    let events = log
        .entries
        .iter()
        .map(|entry| (entry.position, entry.event_id));
    Seen {
        partition: 0,
        events: events.collect(),
    }
}

#[test]
fn a_reader_that_skipped_repeated_or_reordered_an_event_is_found() {
    let log = honest_log();
    let plants: [fn(&mut Seen); 4] = [
        |seen| _ = seen.events.remove(1),
        |seen| _ = seen.events.pop(),
        |seen| seen.events.insert(2, seen.events[1]),
        |seen| seen.events.swap(1, 2),
    ];
    for (number, plant) in plants.into_iter().enumerate() {
        let mut seen = seen(&log);
        plant(&mut seen);
        assert_ne!(seen.findings(&log), Vec::<String>::new(), "plant {number}");
    }
}

fn done(line: &mut Line) -> (&mut i64, &mut String, &mut bool) {
    match &mut line.outcome {
        Outcome::Done {
            version,
            token,
            replayed,
        } => (version, token, replayed),
        other => panic!("{other:?} is not done"),
    }
}

#[test]
fn an_answer_that_the_log_does_not_bear_out_is_found() {
    let plants: [fn(&mut Vec<Line>, &mut EventLog); 9] = [
        // Acknowledged, and lost.
        |_, log| _ = log.entries.pop(),
        // Refused, and there.
        |lines, _| lines[2].outcome = Outcome::Refused(503, "unavailable".to_owned()),
        |lines, _| lines[2].outcome = Outcome::NotAccepted,
        // Two effects of one request.
        |lines, log| {
            let mut twice = log.entries[3].clone();
            twice.position = 6;
            log.entries.push(twice);
            lines[3].outcome = Outcome::Unknown;
        },
        // An effect that nobody asked for.
        |lines, _| _ = lines.remove(1),
        |lines, _| *done(&mut lines[4]).0 = 2,
        |lines, _| *done(&mut lines[4]).1 = "1.0.4".to_owned(),
        // Said to be a repeated answer, and had an effect of its own.
        |lines, _| *done(&mut lines[4]).2 = true,
        // Begun after a later one was known: the positions are inverted.
        |lines, _| lines[0].sent = lines[4].answered + Duration::from_secs(1),
    ];
    for (number, plant) in plants.into_iter().enumerate() {
        let (mut lines, mut log) = (honest_lines(), honest_log());
        plant(&mut lines, &mut log);
        assert_ne!(
            ledger::findings(&lines, &log),
            Vec::<String>::new(),
            "plant {number}"
        );
    }
}

#[test]
fn two_winners_of_one_demanded_version_are_found() {
    let mut lines = honest_lines();
    lines[4].if_match = Some(1);
    assert_ne!(
        ledger::findings(&lines, &honest_log()),
        Vec::<String>::new()
    );
}

#[test]
fn an_unknown_command_may_have_had_no_effect_or_one() {
    let (mut lines, mut log) = (honest_lines(), honest_log());
    lines[4].outcome = Outcome::Unknown;
    assert_eq!(ledger::findings(&lines, &log), Vec::<String>::new());
    log.entries.pop();
    assert_eq!(ledger::findings(&lines, &log), Vec::<String>::new());
}

#[test]
fn a_row_that_missed_repeated_or_swapped_an_event_is_found() {
    let log = honest_log();
    let honest = view::fold(&log);
    assert_eq!(view::differences(&honest, &honest), Vec::<String>::new());
    let ada = honest
        .get(&("acme".to_owned(), ADA.to_string()))
        .expect("a row");
    assert_eq!(ada.display_name.as_deref(), Some("name 5"));
    assert_eq!(ada.version, 3);

    let mut dropped = log.clone();
    dropped.entries.pop();
    let mut reordered = log.clone();
    let (earlier, later) = (
        log.entries[2].payload.clone(),
        log.entries[4].payload.clone(),
    );
    (reordered.entries[2].payload, reordered.entries[4].payload) = (later, earlier);
    for other in [dropped, reordered] {
        assert_ne!(
            view::differences(&honest, &view::fold(&other)),
            Vec::<String>::new()
        );
    }
    let mut without = honest.clone();
    without.pop_first();
    assert_ne!(view::differences(&honest, &without), Vec::<String>::new());
    assert_ne!(view::differences(&without, &honest), Vec::<String>::new());
}

#[test]
fn a_canary_is_found_in_any_letter_case_and_a_stranger_is_not() {
    let (mine, other) = (canary::Canaries::new(), canary::Canaries::new());
    let text = format!("{{\"bio\":\"so {}\"}}", mine.bio.to_uppercase());
    assert_eq!(canary::found(&mine.all(), &text), [mine.bio.as_str()]);
    assert_eq!(canary::found(&other.all(), &text), Vec::<&str>::new());
}
