//! What an operator, or a newer binary, does with parked events: try a key again in order, or give
//! an event up. Both begin with the checkpoint row's lock, so the engine cannot park more of the
//! same key meanwhile, and both raise `parked_version`, so that its next fence makes it read its
//! keys again.

use event_store::{PartitionReader, ReadError};
use events::{Address, RecordedEvent, TenantId};
use read_model::projection::{Projection, Target};
use sqlx::{PgConnection, PgPool, Row};

use super::checkpoint::{self, CheckpointKey};
use super::parked;
use super::poison::{self, Key};

/// How many events of a key one transaction tries; a long queue is several.
const RETRY_EVENTS_MAX: i64 = 200;

const READ_KEY_OF: &str = "
select tenant_id, routing_key
from projection.parked
where projection = $1 and generation = $2 and partition = $3 and position = $4
    and discarded_at is null";

const READ_QUEUE: &str = "
select position
from projection.parked
where projection = $1 and generation = $2 and partition = $3 and tenant_id = $4 and routing_key = $5
    and discarded_at is null
order by position
limit $6";

const DELETE: &str = "
delete from projection.parked
where projection = $1 and generation = $2 and partition = $3 and position = any($4)";

const DISCARD: &str = "
update projection.parked
set discarded_at = clock_timestamp()
where projection = $1 and generation = $2 and partition = $3 and position = $4";

const READ_KEYS_OF_UNKNOWN_VERSIONS: &str = "
select tenant_id, routing_key
from projection.parked
where projection = $1 and generation = $2 and partition = $3 and discarded_at is null
    and reason = 'unknown_version'";

/// Readers that wait for a parked key look again.
const NOTIFY: &str = "
select pg_notify(
    'projection_checkpoint', concat_ws(' ', projection, generation, partition, position))
from projection.checkpoint
where projection = $1 and generation = $2 and partition = $3";

/// Why a key could not be repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// There is no such parked event.
    #[error("no event is parked at {0}")]
    NotParked(Address),
    /// Events of a key are applied in order, so they are given up in order, too.
    #[error("{asked} waits behind {first}: that one comes first")]
    NotFirst {
        /// The event that was named.
        asked: Address,
        /// The first parked event of its key.
        first: Address,
    },
    /// The event could not be read from the store.
    #[error("the event cannot be read from the store")]
    Read(#[from] ReadError),
    /// The database failed; nothing was changed.
    #[error("the database failed; nothing was changed")]
    Database(#[from] sqlx::Error),
}

/// What a retry came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Events that are applied now.
    pub applied: u64,
    /// Where the key is stuck again, if it is.
    pub stuck_at: Option<Address>,
}

/// What to repair, with what.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The database.
    pub pool: &'a PgPool,
    /// Where the events are read again.
    pub reader: &'a PartitionReader,
    /// The projection, at the revision of the generation.
    pub projection: &'static dyn Projection,
    /// The generation.
    pub generation: i32,
}

impl Bench<'_> {
    fn key(&self, address: Address) -> CheckpointKey {
        CheckpointKey {
            projection: self.projection.name(),
            generation: self.generation,
            partition: address.partition,
        }
    }

    /// Tries the key of the parked event at `address` again, from its first event on, until one
    /// fails or none is left.
    ///
    /// # Errors
    /// [`RepairError`]; what was applied before stays applied.
    pub async fn retry(&self, address: Address) -> Result<Retried, RepairError> {
        let checkpoint = self.key(address);
        let key = self.key_at(address).await?;
        self.drain(checkpoint, &key).await
    }

    /// Gives up the parked event at `address`, which must be the first of its key, and tries the
    /// rest of the key.
    ///
    /// # Errors
    /// [`RepairError`].
    pub async fn discard(&self, address: Address) -> Result<Retried, RepairError> {
        let checkpoint = self.key(address);
        let key = self.key_at(address).await?;
        let mut transaction = self.pool.begin().await?;
        checkpoint::lock(&mut transaction, checkpoint).await?;
        let first = queue(&mut transaction, checkpoint, &key)
            .await?
            .first()
            .copied();
        if first != Some(address.position) {
            let partition = address.partition;
            let first = first.map(|position| Address {
                partition,
                position,
            });
            return Err(first.map_or(RepairError::NotParked(address), |first| {
                RepairError::NotFirst {
                    asked: address,
                    first,
                }
            }));
        }
        bound(DISCARD, checkpoint)
            .bind(address.position)
            .execute(&mut *transaction)
            .await?;
        checkpoint::raise_parked_version(&mut transaction, checkpoint).await?;
        transaction.commit().await?;
        self.drain(checkpoint, &key).await
    }

    /// Tries every key of a partition again in which an event was not known to the binary that
    /// parked it.
    pub(crate) async fn retry_unknown_versions(
        &self,
        checkpoint: CheckpointKey,
    ) -> Result<Retried, RepairError> {
        let rows = bound(READ_KEYS_OF_UNKNOWN_VERSIONS, checkpoint)
            .fetch_all(self.pool)
            .await?;
        let mut all = Retried::default();
        for row in rows {
            let retried = self.drain(checkpoint, &key_in(&row)?).await?;
            all.applied += retried.applied;
            all.stuck_at = all.stuck_at.or(retried.stuck_at);
        }
        Ok(all)
    }

    async fn key_at(&self, address: Address) -> Result<Key, RepairError> {
        let query = bound(READ_KEY_OF, self.key(address)).bind(address.position);
        let row = query.fetch_optional(self.pool).await?;
        let row = row.ok_or(RepairError::NotParked(address))?;
        Ok(key_in(&row)?)
    }

    async fn drain(&self, checkpoint: CheckpointKey, key: &Key) -> Result<Retried, RepairError> {
        let mut all = Retried::default();
        loop {
            let (applied, stuck_at) = self.drain_some(checkpoint, key).await?;
            all.applied += applied;
            if applied == 0 || stuck_at.is_some() {
                all.stuck_at = stuck_at;
                return Ok(all);
            }
        }
    }

    /// One transaction of [`Self::drain`]: how many were applied, and where it got stuck.
    async fn drain_some(
        &self,
        checkpoint: CheckpointKey,
        key: &Key,
    ) -> Result<(u64, Option<Address>), RepairError> {
        // The events are read before the lock is taken, which stops the engine at this partition.
        // Meanwhile the queue can only have lost its beginning to another repair, or have grown at
        // its end.
        let waiting = queue(&mut *self.pool.acquire().await?, checkpoint, key).await?;
        let mut events: Vec<RecordedEvent> = Vec::with_capacity(waiting.len());
        for position in waiting {
            let read = self
                .reader
                .read_range(checkpoint.partition, position - 1, position);
            events.extend(read.await?);
        }
        let mut transaction = self.pool.begin().await?;
        checkpoint::lock(&mut transaction, checkpoint).await?;
        let positions = queue(&mut transaction, checkpoint, key).await?;
        events.retain(|event| positions.contains(&event.address.position));
        let target = Target {
            generation: checkpoint.generation,
            partition: checkpoint.partition,
        };
        let sifted = poison::sift(&mut transaction, self.projection, target, &events).await?;
        let stuck: Vec<i64> = sifted.parked.iter().map(|event| event.position).collect();
        let applied: Vec<i64> = events
            .iter()
            .map(|event| event.address.position)
            .filter(|position| !stuck.contains(position))
            .collect();
        let applied_count = applied.len();
        let query = bound(DELETE, checkpoint).bind(applied);
        query.execute(&mut *transaction).await?;
        parked::insert(&mut transaction, checkpoint, &sifted.parked).await?;
        checkpoint::raise_parked_version(&mut transaction, checkpoint).await?;
        bound(NOTIFY, checkpoint).execute(&mut *transaction).await?;
        transaction.commit().await?;
        let partition = checkpoint.partition;
        let stuck_at = stuck.first().map(|&position| Address {
            partition,
            position,
        });
        Ok((u64::try_from(applied_count).unwrap_or(u64::MAX), stuck_at))
    }
}

type Query = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bound(statement: &'static str, key: CheckpointKey) -> Query {
    sqlx::query(statement)
        .bind(key.projection)
        .bind(key.generation)
        .bind(key.partition.as_i32())
}

async fn queue(
    connection: &mut PgConnection,
    checkpoint: CheckpointKey,
    key: &Key,
) -> Result<Vec<i64>, sqlx::Error> {
    let rows = bound(READ_QUEUE, checkpoint)
        .bind(key.0.as_str().to_owned())
        .bind(key.1.clone())
        .bind(RETRY_EVENTS_MAX)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

fn key_in(row: &sqlx::postgres::PgRow) -> Result<Key, sqlx::Error> {
    let tenant =
        TenantId::parse(row.try_get(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok((tenant, row.try_get(1)?))
}
