//! Reading a partition in order, by closed ranges of positions. Positions are dense, so a range is
//! complete or it is an error: a reader never skips, and never sees a later event at or below a
//! mark that it passed.

use events::{Partition, RecordedEvent};
use futures_util::TryStreamExt;
use sqlx::{PgExecutor, PgPool, Row};
use tokio::sync::mpsc;

use crate::recorded::{event_columns, recorded};
use crate::store::ReadError;

const READ_HEAD: &str = "
select position, floor, incarnation from event_store.partition_head where partition = $1";

const READ_HEADS: &str = "
select position, floor, incarnation from event_store.partition_head order by partition";

const READ_RANGE: &str = concat!(
    "select ",
    event_columns!(),
    "
from event_store.event
where event.partition = $1 and event.position > $2 and event.position <= $3
order by event.position"
);

/// A partition's newest position, and the incarnation that is written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The position of the last event; 0 when there is none.
    pub position: i64,
    /// Events up to here were moved to the archive.
    pub floor: i64,
    /// The incarnation.
    pub incarnation: i32,
}

/// Events of one partition in order, and the head that was read **before** them.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    /// The events right after the cursor.
    pub events: Vec<RecordedEvent>,
    /// The partition's head.
    pub head: Head,
}

/// Reads partitions for the relay, the projection engine and rebuilds. It takes no
/// [`events::Scope`]: it serves no tenant.
#[derive(Clone, Debug)]
pub struct PartitionReader {
    pub(crate) pool: PgPool,
}

impl PartitionReader {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The same reader on another pool, such as the engine's own.
    #[must_use]
    pub fn on(&self, pool: PgPool) -> Self {
        Self { pool }
    }

    /// The head of every partition, by partition number.
    ///
    /// # Errors
    /// [`ReadError::Database`].
    pub async fn heads(&self) -> Result<Vec<Head>, ReadError> {
        let rows = sqlx::query(READ_HEADS).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(head).collect::<Result<_, _>>()?)
    }

    /// The head of one partition.
    ///
    /// # Errors
    /// [`ReadError::Database`]; also when there is no such partition.
    pub async fn head(&self, partition: Partition) -> Result<Head, ReadError> {
        let row = sqlx::query(READ_HEAD)
            .bind(partition.as_i32())
            .fetch_one(&self.pool)
            .await?;
        Ok(head(&row)?)
    }

    /// At most `limit` events right after the position `after`; none when the head is not above it.
    ///
    /// # Errors
    /// [`ReadError::Archived`], [`ReadError::Hole`] or [`ReadError::Database`].
    pub async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: u32,
    ) -> Result<ReadBatch, ReadError> {
        // One session: head, incarnation and events are of one server's history.
        let mut connection = self.pool.acquire().await?;
        let read = sqlx::query(READ_HEAD).bind(partition.as_i32());
        let head = head(&read.fetch_one(&mut *connection).await?)?;
        if after < head.floor {
            return Err(ReadError::Archived { floor: head.floor });
        }
        let upto = head.position.min(after.saturating_add(i64::from(limit)));
        match range(&mut *connection, partition, after, upto).await? {
            Ok(events) => Ok(ReadBatch { events, head }),
            Err(missing) => {
                drop(connection);
                Err(self.why_missing(partition, after, missing).await?)
            }
        }
    }

    /// Exactly the events at `after + 1 ..= upto`, all of which must be committed: `upto` is at
    /// most a head that was read before.
    ///
    /// # Errors
    /// [`ReadError::Archived`] when the range begins below the floor, [`ReadError::Hole`] when an
    /// event is missing, [`ReadError::Database`].
    pub async fn read_range(
        &self,
        partition: Partition,
        after: i64,
        upto: i64,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        match range(&self.pool, partition, after, upto).await? {
            Ok(events) => Ok(events),
            Err(missing) => Err(self.why_missing(partition, after, missing).await?),
        }
    }

    /// The events at `after + 1 ..= upto` in closed ranges of `range` events, of which the next
    /// ones are read while the caller works on one. It ends after the last range or the first
    /// error; dropping the receiver ends the reading.
    #[must_use]
    pub fn read_ahead(
        &self,
        partition: Partition,
        after: i64,
        upto: i64,
        range: u32,
    ) -> mpsc::Receiver<Result<Vec<RecordedEvent>, ReadError>> {
        let (ahead, ranges) = mpsc::channel(RANGES_AHEAD_MAX);
        let reader = self.clone();
        tokio::spawn(async move {
            let mut at = after;
            while at < upto {
                let end = upto.min(at.saturating_add(i64::from(range.max(1))));
                let read = reader.read_range(partition, at, end).await;
                let failed = read.is_err();
                if ahead.send(read).await.is_err() || failed {
                    return;
                }
                at = end;
            }
        });
        ranges
    }

    pub(crate) async fn why_missing(
        &self,
        partition: Partition,
        after: i64,
        position: i64,
    ) -> Result<ReadError, ReadError> {
        let head = self.head(partition).await?;
        Ok(if after < head.floor {
            ReadError::Archived { floor: head.floor }
        } else {
            ReadError::Hole {
                partition,
                position,
            }
        })
    }
}

/// The events of a closed range, or the first position that has none.
async fn range(
    executor: impl PgExecutor<'_>,
    partition: Partition,
    after: i64,
    upto: i64,
) -> Result<Result<Vec<RecordedEvent>, i64>, sqlx::Error> {
    let length = usize::try_from(upto.saturating_sub(after)).unwrap_or(0);
    if length == 0 {
        return Ok(Ok(Vec::new()));
    }
    let mut events = Vec::with_capacity(length.min(RANGE_CAPACITY_MAX));
    let mut rows = sqlx::query(READ_RANGE)
        .bind(partition.as_i32())
        .bind(after)
        .bind(upto)
        .fetch(executor);
    let mut expected = after + 1;
    while let Some(row) = rows.try_next().await? {
        let event = recorded(&row)?;
        if event.address.position != expected {
            break;
        }
        expected += 1;
        events.push(event);
    }
    let complete = expected == upto + 1;
    Ok(if complete { Ok(events) } else { Err(expected) })
}

/// How many ranges are read ahead of the caller, who holds one more.
pub(crate) const RANGES_AHEAD_MAX: usize = 1;

/// A range's length is the caller's word; what is reserved ahead for it is bounded.
const RANGE_CAPACITY_MAX: usize = 8192;

fn head(row: &sqlx::postgres::PgRow) -> Result<Head, sqlx::Error> {
    Ok(Head {
        position: row.try_get(0)?,
        floor: row.try_get(1)?,
        incarnation: row.try_get(2)?,
    })
}
