//! The event table as it stands, and whether it has the shape of a log (I2, I3): positions 1 to
//! head in each partition, sequences 1 to n in each stream, each in the order of the other.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

const SNAPSHOT: &str = "set transaction isolation level repeatable read, read only";

const HEADS: &str = "select partition, position from event_store.partition_head";

const EVENTS: &str = "
select partition, position, stream_no, sequence, event_id, tenant_id, aggregate_id, event_type,
       payload, metadata, recorded_at
from event_store.event
order by partition, position";

/// One event, as the test reads it: with none of our own decoding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub struct LogEntry {
    pub partition: i32,
    pub position: i64,
    pub stream_no: i64,
    pub sequence: i64,
    pub event_id: Uuid,
    pub tenant: String,
    pub aggregate_id: String,
    pub event_type: String,
    pub payload: Value,
    pub metadata: Value,
    pub recorded_at: DateTime<Utc>,
}

impl LogEntry {
    /// The request that caused it.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.metadata["request_id"].as_str()
    }
}

/// The whole log in one snapshot, by partition and position.
#[derive(Clone, Debug)]
pub struct EventLog {
    /// The events.
    pub entries: Vec<LogEntry>,
    /// The head of each partition.
    pub heads: BTreeMap<i32, i64>,
}

impl EventLog {
    /// Reads it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn read(pool: &PgPool) -> sqlx::Result<Self> {
        let mut snapshot = pool.begin().await?;
        sqlx::query(SNAPSHOT).execute(&mut *snapshot).await?;
        let heads = sqlx::query_as(HEADS).fetch_all(&mut *snapshot).await?;
        let rows = sqlx::query(EVENTS).fetch_all(&mut *snapshot).await?;
        let entries = rows.iter().map(read).collect::<sqlx::Result<_>>()?;
        Ok(Self {
            entries,
            heads: heads.into_iter().collect(),
        })
    }

    /// Everything that a log must not be; empty when it is one.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut findings = vec![];
        let mut heads: BTreeMap<i32, (i64, DateTime<Utc>)> = BTreeMap::new();
        let mut streams: BTreeMap<(i32, i64), (i64, &LogEntry)> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for entry in &self.entries {
            let (partition, position) = (entry.partition, entry.position);
            let mut wrong = |what: &str| findings.push(format!("{partition}:{position} {what}"));
            let head = heads
                .entry(partition)
                .or_insert((0, DateTime::<Utc>::MIN_UTC));
            if position != head.0 + 1 {
                wrong(&format!("follows position {}", head.0));
            }
            if entry.recorded_at < head.1 {
                wrong("was recorded before its predecessor");
            }
            *head = (position, entry.recorded_at);
            let stream = streams
                .entry((partition, entry.stream_no))
                .or_insert((0, entry));
            if entry.sequence != stream.0 + 1 {
                wrong(&format!(
                    "has sequence {} after {}",
                    entry.sequence, stream.0
                ));
            }
            if entry.sequence == 1 && entry.stream_no != position {
                wrong("begins a stream that is numbered otherwise");
            }
            let first = stream.1;
            if (&entry.tenant, &entry.aggregate_id) != (&first.tenant, &first.aggregate_id) {
                wrong("is in a stream of another user");
            }
            stream.0 = entry.sequence;
            if !ids.insert(entry.event_id) {
                wrong("repeats an event id");
            }
        }
        for (partition, head) in &self.heads {
            let last = heads.get(partition).map_or(0, |last| last.0);
            if last != *head {
                findings.push(format!(
                    "partition {partition} ends at {last}, its head is {head}"
                ));
            }
        }
        findings.extend(self.users_with_two_streams());
        findings
    }

    fn users_with_two_streams(&self) -> Vec<String> {
        let firsts = self.entries.iter().filter(|entry| entry.sequence == 1);
        let mut seen = BTreeSet::new();
        firsts
            .filter(|entry| !seen.insert((&entry.tenant, &entry.aggregate_id)))
            .map(|entry| format!("{} has two streams", entry.aggregate_id))
            .collect()
    }

    /// Panics with the findings.
    ///
    /// # Panics
    /// When there are any.
    #[track_caller]
    pub fn assert_sound(&self) {
        let findings = self.findings();
        assert!(findings.is_empty(), "the log: {findings:#?}");
    }
}

fn read(row: &PgRow) -> sqlx::Result<LogEntry> {
    Ok(LogEntry {
        partition: row.try_get("partition")?,
        position: row.try_get("position")?,
        stream_no: row.try_get("stream_no")?,
        sequence: row.try_get("sequence")?,
        event_id: row.try_get("event_id")?,
        tenant: row.try_get("tenant_id")?,
        aggregate_id: row.try_get("aggregate_id")?,
        event_type: row.try_get("event_type")?,
        payload: row.try_get("payload")?,
        metadata: row.try_get("metadata")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}
