//! The events that a projection could not apply, and those of the same key that wait behind them.

use std::collections::BTreeSet;

use events::{RecordedEvent, TenantId};
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::checkpoint::CheckpointKey;
use super::poison::{Key, key_of};

const INSERT: &str = "
insert into projection.parked
    (projection, generation, partition, position, tenant_id, routing_key, event_id, event_type, event_version, reason, detail)
select $1, $2, $3, p.*
from unnest($4::bigint[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::integer[], $10::text[], $11::text[]) as p
on conflict (projection, generation, partition, position) do update
set reason = excluded.reason, detail = excluded.detail, attempts = parked.attempts + 1, discarded_at = null";

const READ_KEYS: &str = "
select distinct tenant_id, routing_key
from projection.parked
where projection = $1 and generation = $2 and partition = $3 and discarded_at is null";

/// Why an event is parked; the texts are the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A newer binary wrote it.
    UnknownVersion,
    /// It has not its published shape.
    Malformed,
    /// It contradicts the rows.
    Fold,
    /// `apply` panicked.
    Panic,
    /// The database refused it: SQLSTATE class 22, 23 or 54.
    Database,
    /// An earlier event of its key is parked.
    Behind,
}

impl Reason {
    /// As in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownVersion => "unknown_version",
            Self::Malformed => "malformed",
            Self::Fold => "fold",
            Self::Panic => "panic",
            Self::Database => "database",
            Self::Behind => "behind",
        }
    }
}

/// An event on its way to the table.
#[derive(Clone, Debug)]
pub(crate) struct ParkedEvent {
    pub(crate) position: i64,
    pub(crate) key: Key,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) event_version: i32,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

impl ParkedEvent {
    pub(crate) fn poison(event: &RecordedEvent, reason: Reason, detail: String) -> Self {
        Self {
            position: event.address.position,
            key: key_of(event),
            event_id: event.event_id,
            event_type: event.event_type.clone(),
            event_version: event.event_version,
            reason,
            detail,
        }
    }

    pub(crate) fn behind(event: &RecordedEvent) -> Self {
        let detail = "waits behind an earlier event of its key".to_owned();
        Self::poison(event, Reason::Behind, detail)
    }
}

/// The keys whose events a cursor must set aside, and the version that the checkpoint had when they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParkedKeys {
    pub(crate) version: i64,
    pub(crate) keys: BTreeSet<Key>,
}

impl ParkedKeys {
    pub(crate) fn holds(&self, event: &RecordedEvent) -> bool {
        !self.keys.is_empty() && self.keys.contains(&key_of(event))
    }
}

/// Parks events; one that is parked already gets its new reason.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    key: CheckpointKey,
    parked: &[ParkedEvent],
) -> Result<(), sqlx::Error> {
    if parked.is_empty() {
        return Ok(());
    }
    let column = |text: fn(&ParkedEvent) -> &str| -> Vec<String> {
        parked.iter().map(|event| text(event).to_owned()).collect()
    };
    sqlx::query(INSERT)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
        .bind(parked.iter().map(|event| event.position).collect::<Vec<_>>())
        .bind(column(|event| event.key.0.as_str()))
        .bind(column(|event| &event.key.1))
        .bind(parked.iter().map(|event| event.event_id).collect::<Vec<_>>())
        .bind(column(|event| &event.event_type))
        .bind(parked.iter().map(|event| event.event_version).collect::<Vec<_>>())
        .bind(column(|event| event.reason.as_str()))
        .bind(column(|event| &event.detail))
        .execute(connection)
        .await?;
    Ok(())
}

/// The keys that are parked.
pub(crate) async fn read_keys(
    executor: impl PgExecutor<'_>,
    key: CheckpointKey,
) -> Result<BTreeSet<Key>, sqlx::Error> {
    let rows = sqlx::query(READ_KEYS)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
        .fetch_all(executor)
        .await?;
    rows.iter()
        .map(|row| {
            let tenant = TenantId::parse(row.try_get(0)?)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok((tenant, row.try_get(1)?))
        })
        .collect()
}
