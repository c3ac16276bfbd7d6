//! The whole topic from offset 0, when the relay has caught up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chaos::history::KafkaLine;
use events::RecordedEvent;
use events::record::{self, Record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use testkit::TestTopic;
use testkit::pipeline::log::LogEntry;

/// How long the relay may take to come up to the heads when nobody writes any more.
const RELAYED_WITHIN: Duration = Duration::from_secs(60);
const ASKED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// Reads all partitions, again and again until they reach the heads or the time is over; then the
/// checker says what is missing.
pub(super) async fn dump(
    topic: &TestTopic,
    heads: &BTreeMap<i32, i64>,
) -> anyhow::Result<Vec<KafkaLine>> {
    let (topic, heads) = (topic.clone(), heads.clone());
    let dumped = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        loop {
            let mut lines = vec![];
            for partition in heads.keys() {
                lines.extend(partition_of(&topic, *partition)?);
            }
            let last = |partition| last_position(&lines, partition);
            let is_whole = heads
                .iter()
                .all(|(partition, head)| last(*partition) >= *head);
            if is_whole || begun.elapsed() > RELAYED_WITHIN {
                return Ok(lines);
            }
            std::thread::sleep(PAUSE);
        }
    });
    dumped.await.context("reading the topic")?
}

fn last_position(lines: &[KafkaLine], partition: i32) -> i64 {
    let of_partition = lines.iter().filter(|line| line.partition == partition);
    let positions = of_partition.filter_map(|line| Some(line.event.as_ref()?.position));
    positions.max().unwrap_or(0)
}

fn partition_of(topic: &TestTopic, partition: i32) -> anyhow::Result<Vec<KafkaLine>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("group.id", "chaos")
        .set("enable.auto.commit", "false")
        .create()?;
    let (_, end) = consumer.fetch_watermarks(topic.name(), partition, ASKED_WITHIN)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic.name(), partition, Offset::Offset(0))?;
    consumer.assign(&assignment)?;
    let mut lines: Vec<KafkaLine> = vec![];
    while lines.last().map_or(0, |line| line.offset + 1) < end {
        let message = consumer
            .poll(ASKED_WITHIN)
            .context("a record before the end")?;
        lines.push(line(&message?));
    }
    Ok(lines)
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
