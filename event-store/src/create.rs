//! Making the store after the migrations: its one row of settings, its heads, its first
//! incarnation. Idempotent.

use events::PartitionCount;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::incarnation::{self, IncarnationError};
use crate::store::{EventStore, FORMAT};

/// Two creators at once: the second waits here and then finds the store.
const LOCK_SETTINGS: &str = "lock table event_store.settings in exclusive mode";

const READ_SETTINGS: &str = "select partitions, secret_fingerprint from event_store.settings";

const INSERT_SETTINGS: &str = "
insert into event_store.settings (store_id, partitions, format, secret_fingerprint)
values ($1, $2, $3, $4)";

const INSERT_HEADS: &str = "
insert into event_store.partition_head (partition, incarnation)
select partition, 1 from generate_series(0, $1 - 1) as partition";

const INSERT_LEASES: &str = "
insert into event_store.relay_lease (partition)
select partition from generate_series(0, $1 - 1) as partition";

/// Why a store could not be made, or is not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The number of partitions is fixed when the store is created.
    #[error("the event store has {found} partitions, not {asked}; the number can never change")]
    OtherPartitions {
        /// What the store has.
        found: i32,
        /// What was asked for.
        asked: u16,
    },
    /// Another secret key: claims, look-ups and cursors of the store would not be found again.
    #[error("the secret key is not the one that the event store was created with")]
    OtherSecret,
    /// The server cannot be written.
    #[error("the server cannot be used")]
    Incarnation(#[from] IncarnationError),
    /// The database failed.
    #[error("creating the event store failed")]
    Database(#[from] sqlx::Error),
}

impl EventStore {
    /// Makes the store, or checks that it is the one asked for. Run after the migrations, as the
    /// owner.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn create(
        pool: &PgPool,
        partitions: PartitionCount,
        secret_fingerprint: &str,
    ) -> Result<(), CreateError> {
        let mut transaction = pool.begin().await?;
        sqlx::query(LOCK_SETTINGS)
            .execute(&mut *transaction)
            .await?;
        match sqlx::query(READ_SETTINGS)
            .fetch_optional(&mut *transaction)
            .await?
        {
            Some(row) => check(&row, partitions, secret_fingerprint)?,
            None => insert(&mut transaction, partitions, secret_fingerprint).await?,
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn check(
    row: &sqlx::postgres::PgRow,
    partitions: PartitionCount,
    secret_fingerprint: &str,
) -> Result<(), CreateError> {
    let found: i32 = row.try_get(0)?;
    if found != i32::from(partitions.get()) {
        let asked = partitions.get();
        return Err(CreateError::OtherPartitions { found, asked });
    }
    if row.try_get::<&str, _>(1)? != secret_fingerprint {
        return Err(CreateError::OtherSecret);
    }
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    partitions: PartitionCount,
    secret_fingerprint: &str,
) -> Result<(), CreateError> {
    let count = i32::from(partitions.get());
    sqlx::query(INSERT_SETTINGS)
        .bind(Uuid::new_v4())
        .bind(count)
        .bind(FORMAT)
        .bind(secret_fingerprint)
        .execute(&mut *connection)
        .await?;
    for statement in [INSERT_HEADS, INSERT_LEASES] {
        sqlx::query(statement)
            .bind(count)
            .execute(&mut *connection)
            .await?;
    }
    let server = incarnation::read_server(connection).await?;
    let heads = vec![0_i64; usize::from(partitions.get())];
    incarnation::add(connection, 1, server, &heads).await?;
    Ok(())
}
