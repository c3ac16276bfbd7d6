//! What a store is, and whether its log is what the append wrote: `projector store info`, with
//! `--check`.

use chrono::{DateTime, Utc};
use events::Partition;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::digest::Digest;
use crate::partition_reader::PartitionReader;
use crate::store::ReadError;

/// Events that the check reads at a time.
const CHECK_EVENTS_MAX: i64 = 5000;

const READ_SETTINGS: &str =
    "select store_id, partitions, format, created_at from event_store.settings";

const READ_INCARNATIONS: &str = "
select number, system_identifier, timeline, began_at, heads
from event_store.incarnation
order by number";

const READ_HEADS: &str = "
select partition, incarnation, position, recorded_at, digest, floor, floor_digest
from event_store.partition_head
order by partition";

/// Streams above the floor whose sequences are not 1, 2, 3 …, whose number is not their first
/// position, or that have no row.
const COUNT_BROKEN_STREAMS: &str = "
select count(*)
from (
    select event.stream_no, min(event.position) as first, min(event.sequence) as lowest,
        max(event.sequence) as highest, count(*) as events
    from event_store.event
    where event.partition = $1 and event.position <= $2 and event.stream_no > $3
    group by event.stream_no
) as found
left join event_store.stream
    on stream.partition = $1 and stream.stream_no = found.stream_no
where found.first <> found.stream_no or found.lowest <> 1 or found.highest <> found.events
    or stream.stream_no is null";

/// A store as its operator sees it.
#[derive(Clone, Debug)]
pub struct StoreInfo {
    /// The store's own id.
    pub store_id: Uuid,
    /// How many partitions it has, for ever.
    pub partitions: i32,
    /// The format of its tables.
    pub format: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Its histories, oldest first.
    pub incarnations: Vec<IncarnationInfo>,
    /// Its heads, by partition number.
    pub heads: Vec<HeadInfo>,
}

/// One incarnation.
#[derive(Clone, Debug)]
pub struct IncarnationInfo {
    /// Its number.
    pub number: i32,
    /// The cluster that it began on.
    pub system_identifier: i64,
    /// The WAL timeline that it began on.
    pub timeline: i32,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// The heads that it began with, by partition number.
    pub heads: Vec<i64>,
}

/// The head of one partition.
#[derive(Clone, Debug)]
pub struct HeadInfo {
    /// The partition.
    pub partition: Partition,
    /// The incarnation that is written now.
    pub incarnation: i32,
    /// The position of its last event; 0 when there is none.
    pub position: i64,
    /// When that event was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The digest of all its events.
    pub digest: Digest,
    /// Events up to here are in the archive.
    pub floor: i64,
    /// The digest of what is in the archive.
    pub floor_digest: Digest,
}

/// What the check of one partition found.
#[derive(Clone, Debug)]
pub struct PartitionCheck {
    /// The head that was checked up to.
    pub head: HeadInfo,
    /// The digest of the events that were read, and of the archive.
    pub computed: Digest,
    /// The first position without an event, if there is one.
    pub hole: Option<i64>,
    /// Streams whose events are not dense or whose row is missing.
    pub broken_streams: i64,
}

impl PartitionCheck {
    /// Whether the log is what the append wrote.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.hole.is_none() && self.broken_streams == 0 && self.computed == self.head.digest
    }
}

/// Reads what the store says about itself.
///
/// # Errors
/// [`ReadError::Database`].
pub async fn info(pool: &PgPool) -> Result<StoreInfo, ReadError> {
    let settings = sqlx::query(READ_SETTINGS).fetch_one(pool).await?;
    let incarnations = sqlx::query(READ_INCARNATIONS).fetch_all(pool).await?;
    Ok(StoreInfo {
        store_id: settings.try_get(0)?,
        partitions: settings.try_get(1)?,
        format: settings.try_get(2)?,
        created_at: settings.try_get(3)?,
        incarnations: incarnations
            .iter()
            .map(incarnation)
            .collect::<Result<_, _>>()?,
        heads: heads(pool).await?,
    })
}

/// Reads every event of every partition up to its head, computes the digests anew and looks for
/// holes. It may run beside appends: a head and its digest come from one row.
///
/// # Errors
/// [`ReadError::Database`]; what is wrong with the log is in the result.
pub async fn check(pool: &PgPool) -> Result<Vec<PartitionCheck>, ReadError> {
    let mut checks = Vec::new();
    for head in heads(pool).await? {
        checks.push(check_partition(pool, head).await?);
    }
    Ok(checks)
}

async fn check_partition(pool: &PgPool, head: HeadInfo) -> Result<PartitionCheck, ReadError> {
    let reader = PartitionReader::new(pool.clone());
    let mut computed = head.floor_digest;
    let mut hole = None;
    let mut after = head.floor;
    while after < head.position {
        let upto = head.position.min(after + CHECK_EVENTS_MAX);
        match reader.read_range(head.partition, after, upto).await {
            Ok(events) => events.iter().for_each(|event| computed.add_recorded(event)),
            Err(ReadError::Hole { position, .. }) => {
                hole = Some(position);
                break;
            }
            Err(error) => return Err(error),
        }
        after = upto;
    }
    let broken_streams = sqlx::query_scalar(COUNT_BROKEN_STREAMS)
        .bind(head.partition.as_i32())
        .bind(head.position)
        .bind(head.floor)
        .fetch_one(pool)
        .await?;
    Ok(PartitionCheck {
        head,
        computed,
        hole,
        broken_streams,
    })
}

/// Every head with its digest, by partition number; a head and its digest come from one row.
///
/// # Errors
/// [`ReadError::Database`].
pub async fn heads(pool: &PgPool) -> Result<Vec<HeadInfo>, ReadError> {
    let rows = sqlx::query(READ_HEADS).fetch_all(pool).await?;
    Ok(rows.iter().map(head).collect::<Result<_, _>>()?)
}

fn head(row: &PgRow) -> Result<HeadInfo, sqlx::Error> {
    let partition: i32 = row.try_get(0)?;
    Ok(HeadInfo {
        partition: Partition::try_from(partition)
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        incarnation: row.try_get(1)?,
        position: row.try_get(2)?,
        recorded_at: row.try_get(3)?,
        digest: digest(row, 4)?,
        floor: row.try_get(5)?,
        floor_digest: digest(row, 6)?,
    })
}

fn digest(row: &PgRow, column: usize) -> Result<Digest, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    Digest::from_bytes(bytes).ok_or_else(|| sqlx::Error::Decode("a digest has 16 bytes".into()))
}

fn incarnation(row: &PgRow) -> Result<IncarnationInfo, sqlx::Error> {
    Ok(IncarnationInfo {
        number: row.try_get(0)?,
        system_identifier: row.try_get(1)?,
        timeline: row.try_get(2)?,
        began_at: row.try_get(3)?,
        heads: row.try_get(4)?,
    })
}
