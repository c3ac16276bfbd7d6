//! I2 and I3: the event table is a log, and whoever followed it saw it so.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::report::{Invariant, Report};
use crate::history::{Kind, Operation, Outcome};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    report.required("events (I2, I3)", index.history.events.len());
    streams(index, report);
    expected_versions(index, report);
    positions(index, report);
    tails(index, report);
    inversions(index, report);
}

fn streams(index: &Index<'_>, report: &mut Report) {
    let mut ids = BTreeSet::new();
    for ((tenant, user), stream) in &index.streams {
        let place = format!("events of user {user} of {tenant}");
        for (expected, event) in (1..).zip(stream) {
            if event.sequence != expected {
                let what = format!("sequence {} where {expected} was next", event.sequence);
                report.violation(Invariant::I2, &place, what);
                break;
            }
        }
        if stream[0].event_type != "UserRegistered" {
            let what = format!("begins with {}", stream[0].event_type);
            report.violation(Invariant::I2, &place, what);
        }
        let number = stream[0].stream_no;
        if stream.iter().any(|event| event.stream_no != number) {
            report.violation(Invariant::I2, &place, "is two streams");
        }
        for event in stream.iter().filter(|event| !ids.insert(event.event_id)) {
            let what = format!("event id {} stands twice", event.event_id);
            report.violation(Invariant::I2, &place, what);
        }
    }
    report.counted("streams (I2)", index.streams.len());
}

/// Of two commands that expected one version, at most one wins: it made the next one.
fn expected_versions(index: &Index<'_>, report: &mut Report) {
    let mut conditional = 0;
    for command in acknowledged(index) {
        let Some(expected) = command.if_match else {
            continue;
        };
        conditional += 1;
        if command.version != Some(expected + 1) {
            let what = format!("expected version {expected} and made {:?}", command.version);
            report.violation(Invariant::I2, Index::place(command), what);
        }
    }
    report.counted("acknowledged commands on a version (I2)", conditional);
}

fn positions(index: &Index<'_>, report: &mut Report) {
    let mut last = BTreeMap::new();
    for event in &index.history.events {
        let place = || format!("events {}:{}", event.partition, event.position);
        let (position, recorded_at) = last
            .insert(event.partition, (event.position, event.recorded_at))
            .unwrap_or((0, event.recorded_at));
        if event.position != position + 1 {
            let what = format!("follows position {position}");
            report.violation(Invariant::I3, place(), what);
        }
        if event.recorded_at < recorded_at {
            let what = "was recorded before its predecessor";
            report.violation(Invariant::I3, place(), what);
        }
    }
    for head in &index.history.heads {
        let end = last.get(&head.partition).map_or(0, |end| end.0);
        if end != head.position {
            let place = format!("heads, partition {}", head.partition);
            let what = format!("the head is {}, the last event {end}", head.position);
            report.violation(Invariant::I3, place, what);
        }
    }
    report.required("heads (I3)", index.history.heads.len());
}

/// A reader that asks only for what lies above its mark met every event of the table, in order.
fn tails(index: &Index<'_>, report: &mut Report) {
    report.required(
        "events met by tailing readers (I3)",
        index.history.seen.len(),
    );
    let is_lost = |partition, position, id| {
        let event = index.at.get(&(partition, position));
        let is_fork = index.history.incarnations.len() > 1;
        is_fork && event.is_none_or(|event| event.event_id != id)
    };
    let mut met: BTreeMap<i32, Vec<(i64, _)>> = BTreeMap::new();
    for seen in &index.history.seen {
        if !is_lost(seen.partition, seen.position, seen.event_id) {
            let met = met.entry(seen.partition).or_default();
            met.push((seen.position, seen.event_id));
        }
    }
    let mut stored: BTreeMap<i32, Vec<(i64, _)>> = BTreeMap::new();
    for event in &index.history.events {
        let stored = stored.entry(event.partition).or_default();
        stored.push((event.position, event.event_id));
    }
    for (partition, stored) in &stored {
        let met = met.get(partition).map(Vec::as_slice).unwrap_or_default();
        if met != stored {
            let same = met.iter().zip(stored).take_while(|(a, b)| a == b).count();
            let (met, are) = (met.get(same), stored.get(same));
            let place = format!("seen, partition {partition}, line {}", same + 1);
            let what = format!("the reader met {met:?}, in the table is {are:?}");
            report.violation(Invariant::I3, place, what);
        }
    }
}

/// What was sent after another answer had come has the higher position, in one partition.
fn inversions(index: &Index<'_>, report: &mut Report) {
    let mut by_partition: BTreeMap<i32, Vec<(&Operation, i64)>> = BTreeMap::new();
    let first = |op: &&Operation| op.kind == Kind::Change && !op.is_replayed;
    for command in acknowledged(index).filter(first) {
        if let [entry] = index.valid(command.token.as_deref())[..] {
            let known = by_partition.entry(entry.partition).or_default();
            known.push((command, entry.position));
        }
    }
    for (partition, mut by_begin) in by_partition {
        let mut by_end = by_begin.clone();
        by_begin.sort_by_key(|(command, _)| command.begun);
        by_end.sort_by_key(|(command, _)| command.ended);
        let (mut ended, mut highest) = (by_end.into_iter().peekable(), 0);
        for (command, position) in by_begin {
            while let Some((_, known)) = ended.next_if(|(other, _)| other.ended < command.begun) {
                highest = highest.max(known);
            }
            if position <= highest {
                let what = format!("has {partition}:{position}, sent when {highest} was known");
                report.violation(Invariant::I3, Index::place(command), what);
            }
        }
    }
}

fn acknowledged<'h>(index: &Index<'h>) -> impl Iterator<Item = &'h Operation> + use<'h> {
    let operations = index.history.operations.iter();
    operations.filter(|op| op.kind.is_command() && op.outcome == Outcome::Ok)
}
