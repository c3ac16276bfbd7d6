//! The cursor of one projection, generation and partition in the database. It moves in the same
//! transaction as the rows, and only for the holder of the lease: every statement is fenced by the
//! lease's epoch.

use chrono::{DateTime, Utc};
use events::Partition;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

/// Which checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CheckpointKey {
    pub(crate) projection: &'static str,
    pub(crate) generation: i32,
    pub(crate) partition: Partition,
}

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) incarnation: i32,
    pub(crate) position: i64,
    pub(crate) epoch: i64,
    pub(crate) parked_version: i64,
    pub(crate) kafka_offset: Option<i64>,
}

/// Writes the lease's epoch into the checkpoint, when the lease is still ours, and reads it. It
/// changes nothing when the taking of the lease wrote the epoch already; it heals a generation that
/// was created while the lease changed hands.
const ADOPT: &str = "
update projection.checkpoint as c
set epoch = l.epoch
from projection.lease as l
where c.projection = $1 and c.generation = $2 and c.partition = $3
    and l.projection = c.projection and l.partition = c.partition
    and l.revision = $4 and l.owner = $5 and l.epoch = $6 and c.epoch <= l.epoch
returning c.incarnation, c.position, c.epoch, c.parked_version, c.kafka_offset";

/// The fence. The row's lock keeps parking, retries and switches out until the batch has committed.
/// The notification wakes waiting readers and is sent by the commit, once per batch. Events that
/// were checked against an older incarnation than the store's are not applied: they may be void.
const MOVE: &str = "
with moved as (
    update projection.checkpoint
    set position = $6, incarnation = $7, recorded_at = $8, kafka_offset = $9,
        updated_at = clock_timestamp()
    where projection = $1 and generation = $2 and partition = $3 and position = $4 and epoch = $5
        and $7 = (select incarnation from event_store.partition_head where partition = $3)
    returning parked_version
)
select parked_version, pg_notify('projection_checkpoint', concat_ws(' ', $1, $2, $3, $6))
from moved";

const READ: &str = "
select incarnation, position, epoch, parked_version, kafka_offset
from projection.checkpoint
where projection = $1 and generation = $2 and partition = $3";

const LOCK: &str = "
select incarnation, position, epoch, parked_version, kafka_offset
from projection.checkpoint
where projection = $1 and generation = $2 and partition = $3
for update";

const RAISE_PARKED_VERSION: &str = "
update projection.checkpoint
set parked_version = parked_version + 1
where projection = $1 and generation = $2 and partition = $3
returning parked_version";

/// Where a batch moves the checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) from: i64,
    pub(crate) epoch: i64,
    pub(crate) to: i64,
    pub(crate) incarnation: i32,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) kafka_offset: Option<i64>,
}

/// The checkpoint, if the lease is still held by `owner` at `epoch`.
pub(crate) async fn adopt(
    executor: impl PgExecutor<'_>,
    key: CheckpointKey,
    revision: i32,
    owner: Uuid,
    epoch: i64,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    let row = sqlx::query(ADOPT)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
        .bind(revision)
        .bind(owner)
        .bind(epoch)
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(checkpoint).transpose()
}

/// Moves the checkpoint; its `parked_version`, or nothing when position or epoch are not the
/// expected ones.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    key: CheckpointKey,
    by: Move,
) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query(MOVE)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
        .bind(by.from)
        .bind(by.epoch)
        .bind(by.to)
        .bind(by.incarnation)
        .bind(by.recorded_at)
        .bind(by.kafka_offset)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// The checkpoint as it is.
pub(crate) async fn read(
    executor: impl PgExecutor<'_>,
    key: CheckpointKey,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    fetch(executor, READ, key).await
}

/// The checkpoint, its row locked until the transaction ends: parking, retry and discard begin with
/// this.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    key: CheckpointKey,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    fetch(connection, LOCK, key).await
}

/// Tells everybody who holds the set of parked keys that it changed; the row's lock is held
/// already.
pub(crate) async fn raise_parked_version(
    connection: &mut PgConnection,
    key: CheckpointKey,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(RAISE_PARKED_VERSION)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
        .fetch_one(connection)
        .await
}

async fn fetch(
    executor: impl PgExecutor<'_>,
    statement: &'static str,
    key: CheckpointKey,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    let row = sqlx::query(statement)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(checkpoint).transpose()
}

fn checkpoint(row: &PgRow) -> Result<Checkpoint, sqlx::Error> {
    Ok(Checkpoint {
        incarnation: row.try_get(0)?,
        position: row.try_get(1)?,
        epoch: row.try_get(2)?,
        parked_version: row.try_get(3)?,
        kafka_offset: row.try_get(4)?,
    })
}
