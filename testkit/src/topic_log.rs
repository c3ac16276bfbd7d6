//! What a topic holds, read from the beginning, against what the event table holds (I4): every
//! event, in order per partition; duplicates are allowed, holes and inversions are not.

use std::fmt;
use std::time::Duration;

use events::IncarnationLog;
use events::incarnation::Incarnation;
use events::record::{self, Record};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::TestTopic;
use crate::database::TEST_PARTITIONS;

/// How long the broker may take for an answer or the next record.
const READ_MAX: Duration = Duration::from_secs(60);

const READ_EVENTS: &str = "
select position, event_id, event_type, sequence, tenant_id || '/' || routing_key,
    payload::text, metadata::text
from event_store.event
where partition = $1
order by position";

/// What is compared of an event.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// Its position.
    pub position: i64,
    /// Its id.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Its number in its stream.
    pub sequence: i64,
    /// Tenant and routing key.
    pub key: String,
    /// Its payload, byte for byte.
    pub payload: String,
    /// Its metadata, byte for byte.
    pub metadata: String,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.position, self.event_id)
    }
}

/// What is wrong with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// After this position came a later one than the next: events are missing, or they are out of
    /// order.
    Hole {
        /// The last position that was in order.
        after: i64,
        /// The one that came.
        came: i64,
    },
    /// A record says something else than the event at its position.
    Foreign(i64),
    /// A record is there, and no such event.
    Phantom(i64),
    /// The topic ends too early.
    Short {
        /// Its last position.
        last: i64,
        /// The store's head.
        head: i64,
    },
    /// A record could not be read as one of ours.
    Unreadable(i64),
    /// Kafka did not give the partition to its end, such as while the relay cuts off the records
    /// of a topic that was made again.
    Unread(KafkaError),
}

/// Compares one partition's records, in the topic's order, with its events; says how many records
/// were duplicates.
///
/// # Errors
/// The first [`Finding`].
pub fn compare(records: &[Held], stored: &[Held]) -> Result<usize, Finding> {
    let mut last = 0;
    let mut duplicates = 0;
    for record in records {
        let index = usize::try_from(record.position - 1).ok();
        let event = index.and_then(|index| stored.get(index));
        let event = event.ok_or(Finding::Phantom(record.position))?;
        if event != record {
            return Err(Finding::Foreign(record.position));
        }
        match record.position - last {
            1 => last += 1,
            ..=0 => duplicates += 1,
            _ => {
                let came = record.position;
                return Err(Finding::Hole { after: last, came });
            }
        }
    }
    let head = i64::try_from(stored.len()).unwrap_or(i64::MAX);
    if last < head {
        return Err(Finding::Short { last, head });
    }
    Ok(duplicates)
}

/// The duplicates of the whole topic, when it holds what the store holds.
///
/// # Errors
/// The first finding, with its partition.
///
/// # Panics
/// When the store or the topic cannot be read.
pub async fn check(topic: &TestTopic, pool: &PgPool) -> Result<usize, (u16, Finding)> {
    let log = incarnations(pool).await;
    let mut duplicates = 0;
    for partition in 0..TEST_PARTITIONS {
        let read = read(topic, partition)
            .await
            .map_err(|finding| (partition, finding))?;
        let valid = read
            .iter()
            .filter(|record| !log.is_void(record.incarnation, record.event.address));
        let records: Vec<_> = valid.map(held).collect();
        let stored = stored(pool, partition).await;
        duplicates += compare(&records, &stored).map_err(|finding| (partition, finding))?;
    }
    Ok(duplicates)
}

/// Every record of one partition, from its first one on.
///
/// # Errors
/// [`Finding::Unreadable`] and [`Finding::Unread`].
pub async fn read(topic: &TestTopic, partition: u16) -> Result<Vec<Record>, Finding> {
    let topic = topic.clone();
    let read = tokio::task::spawn_blocking(move || read_blocking(&topic, partition.into()));
    read.await.expect("no panic")
}

fn read_blocking(topic: &TestTopic, partition: i32) -> Result<Vec<Record>, Finding> {
    let mut records = Vec::new();
    each(topic, partition, |message| {
        let headers = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter());
        let headers = headers.map(|header| (header.key, header.value));
        let record = record::read(message.key(), headers, message.payload());
        records.push(record.map_err(|_| Finding::Unreadable(message.offset()))?);
        Ok(())
    })?;
    Ok(records)
}

/// Gives `take` every message of one partition, from its first one to its end; it blocks.
///
/// # Errors
/// [`Finding::Unread`], and the first finding of `take`.
pub fn each(
    topic: &TestTopic,
    partition: i32,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Finding>,
) -> Result<(), Finding> {
    let consumer = consumer_at_start(topic, partition).map_err(Finding::Unread)?;
    loop {
        let polled = consumer.poll(READ_MAX);
        let silence = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        match polled.unwrap_or(Err(silence)) {
            Ok(message) => take(&message)?,
            Err(KafkaError::PartitionEOF(_)) => return Ok(()),
            Err(error) => return Err(Finding::Unread(error)),
        }
    }
}

/// A consumer that says where the partition ends, also when a transaction's marker is last.
fn consumer_at_start(topic: &TestTopic, partition: i32) -> Result<BaseConsumer, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("group.id", "runnel-test")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // The end is known when the broker has waited this long for one more record.
        .set("fetch.wait.max.ms", "10")
        .set("auto.offset.reset", "error")
        .create()?;
    let (low, _) = consumer.fetch_watermarks(topic.name(), partition, READ_MAX)?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic.name(), partition, Offset::Offset(low))?;
    consumer.assign(&from)?;
    Ok(consumer)
}

fn held(record: &Record) -> Held {
    let event = &record.event;
    Held {
        position: event.address.position,
        event_id: event.event_id,
        event_type: event.event_type.clone(),
        sequence: event.sequence,
        key: record::key(event),
        payload: event.payload.get().to_owned(),
        metadata: event.metadata.get().to_owned(),
    }
}

async fn stored(pool: &PgPool, partition: u16) -> Vec<Held> {
    let rows = sqlx::query(READ_EVENTS).bind(i32::from(partition));
    let rows = rows.fetch_all(pool).await.expect("the event table");
    let held = |row: &sqlx::postgres::PgRow| Held {
        position: row.get(0),
        event_id: row.get(1),
        event_type: row.get(2),
        sequence: row.get(3),
        key: row.get(4),
        payload: row.get(5),
        metadata: row.get(6),
    };
    rows.iter().map(held).collect()
}

async fn incarnations(pool: &PgPool) -> IncarnationLog {
    let rows = sqlx::query("select number, heads from event_store.incarnation order by number");
    let rows = rows.fetch_all(pool).await.expect("the incarnations");
    let incarnation = |row: &sqlx::postgres::PgRow| Incarnation {
        number: row.get(0),
        heads: row.get(1),
    };
    IncarnationLog::new(rows.iter().map(incarnation).collect()).expect("an incarnation")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(position: i64) -> Held {
        Held {
            position,
            event_id: Uuid::from_u128(u128::try_from(position).unwrap()),
            event_type: "Happened".to_owned(),
            sequence: 1,
            key: "acme/1".to_owned(),
            payload: "{}".to_owned(),
            metadata: "{}".to_owned(),
        }
    }

    fn found(records: &[i64]) -> Result<usize, Finding> {
        let records: Vec<_> = records.iter().copied().map(held).collect();
        compare(&records, &(1..=4).map(held).collect::<Vec<_>>())
    }

    #[test]
    fn duplicates_are_counted_and_allowed() {
        assert_eq!(found(&[1, 2, 3, 4]), Ok(0));
        assert_eq!(found(&[1, 2, 1, 2, 3, 4, 2]), Ok(3));
    }

    #[test]
    fn a_planted_hole_is_found() {
        assert_eq!(found(&[1, 2, 4]), Err(Finding::Hole { after: 2, came: 4 }));
        assert_eq!(found(&[1, 2, 3]), Err(Finding::Short { last: 3, head: 4 }));
        assert_eq!(found(&[2, 3, 4]), Err(Finding::Hole { after: 0, came: 2 }));
    }

    #[test]
    fn a_planted_inversion_is_found() {
        assert_eq!(
            found(&[1, 3, 2, 4]),
            Err(Finding::Hole { after: 1, came: 3 })
        );
    }

    #[test]
    fn a_planted_foreign_value_is_found() {
        let stored: Vec<_> = (1..=4).map(held).collect();
        for change in [
            (|held: &mut Held| held.payload = "{ }".to_owned()) as fn(&mut Held),
            |held| held.event_id = Uuid::nil(),
            |held| held.key = "acme/2".to_owned(),
            |held| held.metadata = "{\"a\":1}".to_owned(),
        ] {
            let mut records = stored.clone();
            change(&mut records[2]);
            assert_eq!(compare(&records, &stored), Err(Finding::Foreign(3)));
        }
        assert_eq!(found(&[1, 2, 3, 4, 5]), Err(Finding::Phantom(5)));
    }
}
