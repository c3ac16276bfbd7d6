//! The events that a projection could not apply, and those of the same key that wait behind them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use events::{Address, Partition, RecordedEvent, TenantId};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::checkpoint::CheckpointKey;
use super::poison::{Key, key_of};

const INSERT: &str = "
insert into projection.parked
    (projection, generation, partition, position, tenant_id, routing_key, event_id, event_type,
    event_version, reason, detail)
select $1, $2, $3, p.*
from unnest($4::bigint[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::integer[],
    $10::text[], $11::text[]) as p
on conflict (projection, generation, partition, position) do update
set reason = excluded.reason, detail = excluded.detail, attempts = parked.attempts + 1,
    discarded_at = null";

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

/// The keys whose events a cursor must set aside, and the version that the checkpoint had when they
/// were read.
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
        .bind(
            parked
                .iter()
                .map(|event| event.position)
                .collect::<Vec<_>>(),
        )
        .bind(column(|event| event.key.0.as_str()))
        .bind(column(|event| &event.key.1))
        .bind(
            parked
                .iter()
                .map(|event| event.event_id)
                .collect::<Vec<_>>(),
        )
        .bind(column(|event| &event.event_type))
        .bind(
            parked
                .iter()
                .map(|event| event.event_version)
                .collect::<Vec<_>>(),
        )
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

/// A parked key, as operators see it: its first event, and how many wait behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedKey {
    /// The projection.
    pub projection: String,
    /// The generation.
    pub generation: i32,
    /// The revision of the fold that fills it.
    pub revision: i32,
    /// The partition.
    pub partition: i32,
    /// The position of the first parked event.
    pub position: i64,
    /// The tenant.
    pub tenant: String,
    /// The routing key.
    pub routing_key: String,
    /// The first event's id.
    pub event_id: Uuid,
    /// The first event's type.
    pub event_type: String,
    /// The version of its payload's shape.
    pub event_version: i32,
    /// Why it is parked.
    pub reason: String,
    /// More about that; never a value of the event.
    pub detail: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Since when.
    pub parked_at: DateTime<Utc>,
    /// How many events of the key wait behind it.
    pub behind: i64,
}

/// What a rebuild parked it tells itself; nobody else touches what it builds.
const LIST: &str = "
select distinct on (p.projection, p.generation, p.partition, p.tenant_id, p.routing_key)
    p.projection, p.generation, g.revision, p.partition, p.position, p.tenant_id, p.routing_key,
    p.event_id,
    p.event_type, p.event_version, p.reason, p.detail, p.attempts, p.parked_at,
    count(*) over (
        partition by p.projection, p.generation, p.partition, p.tenant_id, p.routing_key) - 1
from projection.parked as p
join projection.generation as g using (projection, generation)
where p.discarded_at is null and g.state not in ('building', 'void')
    and ($1::text is null or p.projection = $1)
    and ($2::integer is null or exists (
        select from projection.parked as named
        where named.projection = p.projection and named.generation = p.generation
            and named.partition = p.partition
            and named.tenant_id = p.tenant_id and named.routing_key = p.routing_key
            and named.partition = $2 and named.position = $3 and named.discarded_at is null))
order by p.projection, p.generation, p.partition, p.tenant_id, p.routing_key, p.position";

impl ParkedKey {
    /// Where the first event stands, as it is written for people.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.partition, self.position)
    }

    /// Where the first event stands.
    ///
    /// # Errors
    /// When the table holds a partition that no store can have.
    pub fn first(&self) -> Result<Address, std::num::TryFromIntError> {
        Ok(Address {
            partition: Partition::try_from(self.partition)?,
            position: self.position,
        })
    }
}

/// The parked keys of `projection`, or of all.
///
/// # Errors
/// The database's.
pub async fn list(
    executor: impl PgExecutor<'_>,
    projection: Option<&str>,
) -> Result<Vec<ParkedKey>, sqlx::Error> {
    fetch(executor, projection, None).await
}

/// The key of the parked event at `address`, in every generation in which it is parked.
///
/// # Errors
/// The database's.
pub async fn find(
    executor: impl PgExecutor<'_>,
    projection: &str,
    address: Address,
) -> Result<Vec<ParkedKey>, sqlx::Error> {
    fetch(executor, Some(projection), Some(address)).await
}

async fn fetch(
    executor: impl PgExecutor<'_>,
    projection: Option<&str>,
    address: Option<Address>,
) -> Result<Vec<ParkedKey>, sqlx::Error> {
    let rows = sqlx::query(LIST)
        .bind(projection)
        .bind(address.map(|address| address.partition.as_i32()))
        .bind(address.map(|address| address.position))
        .fetch_all(executor)
        .await?;
    rows.iter().map(parked_key).collect()
}

fn parked_key(row: &PgRow) -> Result<ParkedKey, sqlx::Error> {
    Ok(ParkedKey {
        projection: row.try_get(0)?,
        generation: row.try_get(1)?,
        revision: row.try_get(2)?,
        partition: row.try_get(3)?,
        position: row.try_get(4)?,
        tenant: row.try_get(5)?,
        routing_key: row.try_get(6)?,
        event_id: row.try_get(7)?,
        event_type: row.try_get(8)?,
        event_version: row.try_get(9)?,
        reason: row.try_get(10)?,
        detail: row.try_get(11)?,
        attempts: row.try_get(12)?,
        parked_at: row.try_get(13)?,
        behind: row.try_get(14)?,
    })
}
