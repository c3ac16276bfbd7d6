//! An opened store: what it is made of, loading one stream, finding a stored answer. Appending is
//! [`crate::append`].

use std::sync::Arc;

use events::{IncarnationLog, Partition, PartitionCount, RecordedEvent, Scope, StreamId};
use futures_util::TryStreamExt;
use postgres_es::PostgresEventRepository;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::entry::{OutcomeKey, ReadMark, StoredOutcome};
use crate::incarnation;
use crate::key_hash::{StreamKey, home_partition};
use crate::known_streams::{KnownStream, KnownStreams};
use crate::outcome;
use crate::partition_reader::{Head, PartitionReader};
use crate::recorded::{event_columns, recorded};

/// The format of the tables that this binary reads and writes.
pub(crate) const FORMAT: i32 = 1;

/// The view that [`EventStore::cqrs_events`] reads.
const CQRS_EVENT: &str = "event_store.cqrs_event";

const READ_SETTINGS: &str =
    "select store_id, partitions, format, secret_fingerprint from event_store.settings";

/// Head and events come from one statement, so from one snapshot: what was read is exactly what
/// stands up to the head.
///
/// The subquery is lateral and ordered so that it stays one: while the table has no statistics, as
/// in a store's first minute, a plain join reads the whole partition and drops all but one stream.
const LOAD_STREAM: &str = concat!(
    "select ",
    event_columns!(),
    ", head.incarnation, head.position as head
from event_store.partition_head as head
left join event_store.stream
    on stream.partition = head.partition and stream.aggregate_type = $2 and stream.name = $3
left join lateral (
    select event.*
    from event_store.event
    where event.partition = stream.partition and event.stream_no = stream.stream_no
        and event.sequence > $4
    order by event.sequence
) as event on true
where head.partition = $1
order by event.sequence"
);

const FIND_HOME: &str = "
select stream_partition, routing_key
from event_store.stream_home
where partition = $1 and aggregate_type = $2 and name = $3 and stream_partition >= 0";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database holds no store: it was migrated but never created.
    #[error("the database holds no event store; run `runnel migrate`")]
    NoStore,
    /// Another version of the tables.
    #[error("the event store has format {found}, this binary reads format {FORMAT}")]
    Format {
        /// The stored format.
        found: i32,
    },
    /// The stored settings make no sense.
    #[error("the event store's settings are damaged: {0}")]
    Damaged(&'static str),
    /// The server is not the one that the newest incarnation was written on.
    #[error("the server cannot be used")]
    Incarnation(#[from] incarnation::IncarnationError),
    /// The database failed.
    #[error("reading the event store's settings failed")]
    Database(#[from] sqlx::Error),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The events were moved to the archive; begin at its floor.
    #[error("events up to position {floor} are in the archive")]
    Archived {
        /// The last archived position.
        floor: i64,
    },
    /// An event below the head is missing: the store is damaged.
    #[error("partition {partition} has no event at position {position}, below its head")]
    Hole {
        /// The partition.
        partition: Partition,
        /// The first missing position.
        position: i64,
    },
    /// A stream of another tenant was asked for: a bug of the caller.
    #[error("the stream belongs to another tenant than the scope")]
    ForeignTenant,
    /// The database failed.
    #[error("reading the event store failed")]
    Database(#[from] sqlx::Error),
}

/// A stream's events after the asked sequence, and what they are true as of.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Incarnation and head of the stream's partition, from the same snapshot as the events.
    pub mark: ReadMark,
    /// The events in order; none when there is no stream, or nothing after the asked sequence.
    pub events: Vec<RecordedEvent>,
}

/// An opened store; clones share everything.
#[derive(Clone, Debug)]
pub struct EventStore {
    pool: PgPool,
    facts: Arc<Facts>,
    known: KnownStreams,
}

#[derive(Debug)]
struct Facts {
    store_id: Uuid,
    partitions: PartitionCount,
    secret_fingerprint: String,
}

impl EventStore {
    /// Opens the store behind `pool`, which must lead to the primary.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(pool: PgPool) -> Result<Self, OpenError> {
        let row = sqlx::query(READ_SETTINGS)
            .fetch_optional(&pool)
            .await?
            .ok_or(OpenError::NoStore)?;
        let format = row.try_get(2)?;
        if format != FORMAT {
            return Err(OpenError::Format { found: format });
        }
        let partitions: i32 = row.try_get(1)?;
        let partitions = u16::try_from(partitions)
            .ok()
            .and_then(PartitionCount::new)
            .ok_or(OpenError::Damaged("partitions"))?;
        let facts = Facts {
            store_id: row.try_get(0)?,
            partitions,
            secret_fingerprint: row.try_get(3)?,
        };
        Ok(Self {
            pool,
            facts: Arc::new(facts),
            known: KnownStreams::new(),
        })
    }

    /// The store's own id; the source of its events in Kafka.
    #[must_use]
    pub fn store_id(&self) -> Uuid {
        self.facts.store_id
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partitions(&self) -> PartitionCount {
        self.facts.partitions
    }

    /// The fingerprint of the secret key that its claims were hashed under.
    #[must_use]
    pub fn secret_fingerprint(&self) -> &str {
        &self.facts.secret_fingerprint
    }

    /// The pool that it reads through.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Every incarnation of the store.
    ///
    /// # Errors
    /// [`ReadError::Database`].
    pub async fn incarnations(&self) -> Result<IncarnationLog, ReadError> {
        Ok(incarnation::load_log(&self.pool).await?)
    }

    /// The head of every partition, by partition number.
    ///
    /// # Errors
    /// [`ReadError::Database`].
    pub async fn heads(&self) -> Result<Vec<Head>, ReadError> {
        self.partition_reader().heads().await
    }

    /// A reader of whole partitions.
    #[must_use]
    pub fn partition_reader(&self) -> PartitionReader {
        PartitionReader::new(self.pool.clone())
    }

    /// The events of a stream after the sequence `after`, with the mark that a decision on them
    /// must carry.
    ///
    /// # Errors
    /// [`ReadError::ForeignTenant`], [`ReadError::Database`].
    pub async fn load(
        &self,
        scope: &Scope,
        stream: &StreamId,
        after: i64,
    ) -> Result<Loaded, ReadError> {
        if stream.tenant != scope.tenant {
            return Err(ReadError::ForeignTenant);
        }
        let name = stream.name();
        let mut rows = sqlx::query(LOAD_STREAM)
            .bind(stream.partition(self.partitions()).as_i32())
            .bind(stream.aggregate_type)
            .bind(&name)
            .bind(after)
            .fetch(&self.pool);
        let mut mark = None;
        let mut events = Vec::new();
        while let Some(row) = rows.try_next().await? {
            mark = Some(ReadMark {
                incarnation: row.try_get(14)?,
                head: row.try_get(15)?,
            });
            if row.try_get::<Option<i64>, _>(1)?.is_some() {
                events.push(recorded(&row)?);
            }
        }
        let mark = mark.ok_or(sqlx::Error::RowNotFound)?;
        if let Some(last) = events.last() {
            self.learn(mark.incarnation, stream, last);
        }
        Ok(Loaded { mark, events })
    }

    /// The answer that an idempotency key got before, with the fingerprint of the request that got
    /// it.
    ///
    /// # Errors
    /// [`ReadError::Database`].
    pub async fn find_outcome(
        &self,
        scope: &Scope,
        key: &OutcomeKey,
    ) -> Result<Option<([u8; 32], StoredOutcome)>, ReadError> {
        Ok(outcome::find(&self.pool, self.partitions(), scope, key).await?)
    }

    /// Where the stream of an aggregate lives whose id does not contain its routing key: partition
    /// and routing key.
    ///
    /// # Errors
    /// [`ReadError::Database`].
    pub async fn find_home(
        &self,
        scope: &Scope,
        aggregate_type: &str,
        id: &str,
    ) -> Result<Option<(Partition, String)>, ReadError> {
        let name = format!("{}/{id}", scope.tenant);
        let partition = home_partition(aggregate_type, &name, self.partitions());
        let row = sqlx::query(FIND_HOME)
            .bind(partition.as_i32())
            .bind(aggregate_type)
            .bind(&name)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let home = Partition::try_from(row.try_get::<i32, _>(0)?)
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(Some((home, row.try_get(1)?)))
    }

    /// Deletes expired answers in small batches until none are left; returns how many there were.
    ///
    /// # Errors
    /// [`ReadError::Database`].
    pub async fn sweep_outcomes(&self) -> Result<u64, ReadError> {
        let mut swept = 0;
        loop {
            let deleted = outcome::sweep(&self.pool).await?;
            swept += deleted;
            if deleted < outcome::SWEEP_ROWS_MAX.unsigned_abs() {
                return Ok(swept);
            }
        }
    }

    /// The store as postgres-es sees it: it loads a stream through a view, by the stream's name as
    /// aggregate id. It knows no tenant, but the name has it inside. It neither appends nor replays
    /// here.
    #[must_use]
    pub fn cqrs_events(&self) -> PostgresEventRepository {
        let snapshots = "event_store.no_snapshots";
        PostgresEventRepository::new(self.pool.clone()).with_tables(CQRS_EVENT, snapshots)
    }

    pub(crate) fn known_streams(&self) -> &KnownStreams {
        &self.known
    }

    fn learn(&self, incarnation: i32, stream: &StreamId, last: &RecordedEvent) {
        let known = KnownStream {
            number: last.stream_no,
            version: last.sequence,
            position: last.address.position,
        };
        let key = StreamKey::of(last.address.partition, stream);
        self.known.learn(incarnation, key, known);
    }
}

#[cfg(test)]
mod tests {
    use testkit::TestDatabase;

    use super::*;

    #[tokio::test]
    async fn a_stream_is_loaded_by_its_number_also_while_nothing_is_known_about_the_table() {
        let database = TestDatabase::create().await;
        let mut connection = database.pool().acquire().await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let explain = format!(
                "set plan_cache_mode = {mode};
                prepare load_{mode} as {LOAD_STREAM};
                explain (costs off) execute load_{mode}(1, 'user', 'acme/1', 0)"
            );
            let lines = sqlx::raw_sql(&explain).fetch_all(&mut *connection).await;
            let lines = lines.unwrap();
            let plan: Vec<&str> = lines.iter().map(|line| line.get(0)).collect();
            let plan = plan.join("\n");
            assert!(plan.contains("stream_no = stream.stream_no) AND"), "{plan}");
        }
    }
}
