//! The whole topic from its first record, when the relay has caught up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chaos::history::KafkaLine;
use events::RecordedEvent;
use events::record::{self, Record};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use serde_json::Value;
use testkit::TestTopic;
use testkit::pipeline::EventLog;
use testkit::pipeline::log::LogEntry;
use testkit::topic_log::{self, Finding};

/// How long the relay may take to come up to the heads when nobody writes any more.
const RELAYED_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// Reads all partitions, again and again until they bring the whole table or the time is over;
/// then the checker says what is missing. A relay that cuts records off and Kafka after a fault
/// fail a look at the topic, not the run: only the last look's error counts.
pub(super) async fn dump(topic: &TestTopic, log: &EventLog) -> anyhow::Result<Vec<KafkaLine>> {
    let (topic, log) = (topic.clone(), log.clone());
    let dumped = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        loop {
            let is_late = begun.elapsed() > RELAYED_WITHIN;
            match lines(&topic, log.heads.keys()) {
                Ok(lines) if is_late || is_whole(&lines, &log.entries) => return Ok(lines),
                Err(finding) if is_late => anyhow::bail!("{finding:?}"),
                Ok(_) | Err(_) => std::thread::sleep(PAUSE),
            }
        }
    });
    dumped.await.context("reading the topic")?
}

fn lines<'p>(
    topic: &TestTopic,
    partitions: impl Iterator<Item = &'p i32>,
) -> Result<Vec<KafkaLine>, Finding> {
    let mut lines = vec![];
    for partition in partitions {
        topic_log::each(topic, *partition, |message| {
            lines.push(line(message));
            Ok(())
        })?;
    }
    Ok(lines)
}

/// Whether a consumer of each partition meets its events one after the other, all of them. What it
/// has come past may come again; records of no event here are void, or for the checker to judge.
fn is_whole(lines: &[KafkaLine], events: &[LogEntry]) -> bool {
    let mut table: BTreeMap<i32, Vec<&LogEntry>> = BTreeMap::new();
    for event in events {
        table.entry(event.partition).or_default().push(event);
    }
    table.iter().all(|(partition, events)| {
        let records = lines.iter().filter(|line| line.partition == *partition);
        let mut past = 0;
        for record in records.filter_map(|line| line.event.as_ref()) {
            let index = usize::try_from(record.position - 1).unwrap_or(usize::MAX);
            match events.get(index) {
                Some(event) if *event == record && index > past => return false,
                Some(event) if *event == record && index == past => past += 1,
                _ => {}
            }
        }
        past == events.len()
    })
}

fn line(message: &BorrowedMessage<'_>) -> KafkaLine {
    let headers = message.headers().into_iter();
    let headers = headers.flat_map(|headers| headers.iter().map(|h| (h.key, h.value)));
    let read = record::read(message.key(), headers, message.payload()).ok();
    KafkaLine {
        partition: message.partition(),
        offset: message.offset(),
        incarnation: read.as_ref().map_or(0, |record| record.incarnation),
        event: read.map(|Record { event, .. }| entry(event)),
    }
}

fn entry(event: RecordedEvent) -> LogEntry {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    LogEntry {
        partition: i32::from(event.address.partition.0),
        position: event.address.position,
        stream_no: event.stream_no,
        sequence: event.sequence,
        event_id: event.event_id,
        tenant: event.tenant.to_string(),
        aggregate_id: event.aggregate_id,
        event_type: event.event_type,
        payload: json(event.payload.get()),
        metadata: json(event.metadata.get()),
        recorded_at: event.recorded_at,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn event(position: i64) -> LogEntry {
        LogEntry {
            partition: 1,
            position,
            stream_no: 1,
            sequence: position,
            event_id: Uuid::nil(),
            tenant: "acme".to_owned(),
            aggregate_id: "1".to_owned(),
            event_type: "Happened".to_owned(),
            payload: Value::Null,
            metadata: Value::Null,
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn holds_four_events(records: impl IntoIterator<Item = LogEntry>) -> bool {
        let line = |(offset, event)| KafkaLine {
            partition: 1,
            offset,
            incarnation: 1,
            event: Some(event),
        };
        let lines: Vec<_> = (0..).zip(records).map(line).collect();
        is_whole(&lines, &(1..=4).map(event).collect::<Vec<_>>())
    }

    #[test]
    fn a_topic_is_whole_when_each_event_has_come_after_its_predecessor() {
        assert!(holds_four_events([1, 2, 3, 4].map(event)));
        assert!(holds_four_events([1, 2, 1, 2, 3, 4, 2].map(event)));
    }

    #[test]
    fn a_topic_that_begins_in_the_middle_or_ends_early_is_not_whole() {
        assert!(!holds_four_events([3, 4].map(event)));
        assert!(!holds_four_events([3, 4, 1, 2, 3, 4].map(event)));
        assert!(!holds_four_events([1, 2, 3].map(event)));
        assert!(!holds_four_events([]));
    }

    #[test]
    fn a_void_record_is_not_the_event_that_took_its_place() {
        let void = |position| LogEntry {
            event_id: Uuid::max(),
            ..event(position)
        };
        let before = [event(1), event(2), void(3), void(4), void(5)];
        assert!(!holds_four_events(before.clone()));
        assert!(holds_four_events(
            before.into_iter().chain([3, 4].map(event))
        ));
    }
}
