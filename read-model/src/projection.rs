//! What a projection is to the engine. A view is deterministic: no clock, no randomness and no
//! network in [`Projection::apply`]; rebuilt equals live, row for row.

use std::sync::Arc;

use async_trait::async_trait;
use events::{DecodeError, EventRef, Partition, RecordedEvent, TenantId};
use sqlx::PgConnection;

use crate::cache::{Cached, CachedRow};

/// Where a batch is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The generation whose tables are written.
    pub generation: i32,
    /// The partition that all events of the batch, and all rows that they touch, belong to.
    pub partition: Partition,
}

/// What a batch did.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// How many rows were written.
    pub rows: u64,
    /// The cache keys of what changed; readers forget them.
    pub touched: Vec<Touched>,
    /// The rows themselves, when they are kept in Redis: each as it is after the batch.
    pub written: Vec<Written>,
}

/// One row after a batch.
#[derive(Clone, Debug)]
pub struct Written {
    /// Which.
    pub touched: Touched,
    /// The row; none when it is gone, or when nothing may be kept of it.
    pub row: Option<Arc<dyn CachedRow>>,
}

/// One thing that changed: tenant and the id under which readers cache it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Touched {
    /// The tenant.
    pub tenant: TenantId,
    /// The id, such as the user's.
    pub id: String,
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// One event cannot be read: its routing key is parked.
    #[error("the event at position {position} cannot be read")]
    Decode {
        /// The event's position.
        position: i64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// One event contradicts the rows: its routing key is parked.
    #[error("the event at position {position} cannot be folded: {reason}")]
    Fold {
        /// The event's position.
        position: i64,
        /// Why, without any value of the event.
        reason: &'static str,
    },
    /// The database refused or failed; the engine tells poison (SQLSTATE 22, 23, 54) from trouble
    /// that passes.
    #[error("the database did not take the batch")]
    Database(#[from] sqlx::Error),
}

/// A fold of one partition from its first event on, kept in memory and written once: what a rebuild
/// uses instead of [`Projection::apply`], because it need not read rows back. It must come to the
/// same rows.
#[async_trait]
pub trait BulkFold: Send {
    /// Folds the partition's next event.
    ///
    /// # Errors
    /// [`ApplyError`]; the fold is of no use then, and the partition is applied in batches, which
    /// park what cannot be read.
    fn fold(&mut self, event: EventRef<'_>) -> Result<(), ApplyError>;

    /// About how many bytes it holds.
    fn bytes(&self) -> usize;

    /// Copies the rows into `target`'s tables, which hold none of the partition's yet, and returns
    /// how many there were.
    ///
    /// # Errors
    /// [`ApplyError::Database`].
    async fn copy(
        self: Box<Self>,
        connection: &mut PgConnection,
        target: Target,
    ) -> Result<u64, ApplyError>;
}

/// A projection: its name is its file, its table, its metric label and its CLI argument.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// The name; permanent.
    fn name(&self) -> &'static str;

    /// The revision of the fold; a changed fold is a new revision.
    fn revision(&self) -> i32;

    /// The tables behind the views `read_model.<table>`; each generation has its own,
    /// `read_model.<table>_g<n>`. A projection with one table names it as itself.
    fn tables(&self) -> Vec<&'static str> {
        vec![self.name()]
    }

    /// At most how many rows the event writes, so that the engine can cut its batches.
    fn effects_max(&self, event: &RecordedEvent) -> usize;

    /// How its rows are kept in Redis, when they are.
    fn cached(&self) -> Option<&dyn Cached> {
        None
    }

    /// An empty fold in memory. A projection that has one also has, besides
    /// `read_model.create_<name>`, the functions `read_model.create_<name>_bare` (the tables
    /// without keys) and `read_model.create_<name>_keys` (what they lack; harmless when called
    /// again). Without one a rebuild applies batches, which is right and slower.
    fn bulk(&self) -> Option<Box<dyn BulkFold>> {
        None
    }

    /// Folds the batch in memory and writes each row once, in the caller's transaction and only in
    /// `target`'s tables. Events come in position order and without duplicates; those of parked
    /// keys are left out by the engine.
    ///
    /// # Errors
    /// [`ApplyError`]; the engine rolls the transaction back.
    async fn apply(
        &self,
        connection: &mut PgConnection,
        target: Target,
        batch: &[RecordedEvent],
    ) -> Result<Effects, ApplyError>;
}
