//! I4: read from offset 0, without void and foreign records, each partition of the topic is the
//! event table. What comes again is a duplicate and may be there; a hole or an inversion may not.

use std::collections::BTreeMap;

use testkit::pipeline::log::LogEntry;

use super::index::Index;
use super::report::{Invariant, Report};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    if !index.history.scene.has_kafka {
        return;
    }
    report.required("Kafka records (I4)", index.history.kafka.len());
    let mut table: BTreeMap<i32, Vec<&LogEntry>> = BTreeMap::new();
    for event in &index.history.events {
        table.entry(event.partition).or_default().push(event);
    }
    // How many events of the table a consumer has come past, by partition.
    let mut past: BTreeMap<i32, usize> = BTreeMap::new();
    let (mut duplicates, mut void) = (0, 0);
    for line in &index.history.kafka {
        let place = format!("kafka, partition {} offset {}", line.partition, line.offset);
        let Some(event) = &line.event else {
            report.violation(Invariant::I4, place, "a foreign record");
            continue;
        };
        if index.is_void(line.incarnation, event.partition, event.position) {
            void += 1;
            continue;
        }
        let stored = index.at.get(&(event.partition, event.position));
        if event.partition != line.partition || stored.is_none_or(|stored| *stored != event) {
            let address = format!("{}:{}", event.partition, event.position);
            let what = format!("{address} holds what the event table does not hold there");
            report.violation(index.phantom(Invariant::I4), place, what);
            continue;
        }
        let past = past.entry(line.partition).or_default();
        let table = &table[&line.partition];
        let next = table.get(*past).map(|event| event.position);
        if Some(event.position) == next {
            *past += 1;
        } else if next.is_none_or(|next| event.position < next) {
            duplicates += 1;
        } else {
            let what = format!("{} came where {next:?} was next", event.position);
            report.violation(Invariant::I4, place, what);
            *past = table.partition_point(|other| other.position <= event.position);
        }
    }
    for (partition, table) in &table {
        let past = past.get(partition).copied().unwrap_or(0);
        if past < table.len() {
            let what = format!("ends after {past} of {} events", table.len());
            report.violation(Invariant::I4, format!("kafka, partition {partition}"), what);
        }
    }
    report.counted("duplicates in Kafka (I4)", duplicates);
    report.counted("void records in Kafka (I15)", void);
}
