//! The contract between the projector's Redis writer and query-api's Redis layer: keys, values,
//! scripts, and what may be believed of them. Redis is disposable: whatever is missing, cold or
//! foreign means "ask PostgreSQL", never "empty".
//!
//! | module | what it holds |
//! |---|---|
//! | [`key`] | how keys are spelt |
//! | [`mark`] | `applied`: up to where everything was written through, and under which epoch |
//! | [`envelope`] | the bytes of a value: whose it is and what it is true as of |
//! | [`scripts`], [`commands`] | what is sent, and what comes back |
//! | [`push`] | the channel on which touched keys are told |
//!
//! # The rules
//!
//! 1. A reader sends `applied` and the value in one pipeline, `applied` first
//!    ([`commands::look_up`]). No mark, a mark of another run of the server
//!    ([`mark::Mark::is_of_run`]), or a value of another epoch: the value is **cold**, a miss.
//! 2. A value that [`envelope::open`] calls foreign is deleted, counted and never shown.
//! 3. A value that is neither covers every event of its key up to the mark's position. It is good
//!    for a token when the mark's position or the value's own `as_of` has reached it.
//! 4. Values are **created by fills alone**, under a lease that every write-through deletes. A
//!    write-through changes a value that is there, and then only to a later one of its own epoch;
//!    so a write that arrives late, from whomever, can make a value cold or absent, never old.
//! 5. A fill was read from the primary after the lease was taken, in one snapshot with its
//!    checkpoints; is not of a key that is parked in that snapshot; and reaches the position of
//!    the mark that was read before the lease ([`mark::Mark::may_fill`]), or it is not sent.
//! 6. Raising the epoch (the design's "key generation") makes everything cold at once. Epochs are
//!    random, so that an old dump cannot bring one back to life.

pub mod commands;
pub mod envelope;
pub mod key;
pub mod mark;
pub mod push;
pub mod scripts;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use events::{RecordedEvent, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

pub use envelope::{Envelope, Opened};
pub use key::{Keyspace, Namespace, ValueKey};
pub use mark::{Epoch, Mark};

use crate::checkpoint::Standing;
use crate::projection::Touched;

/// How long a reader has for its fill; afterwards another may try. Longer than any read takes.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

/// `applied` of a generation that nobody follows any more goes away after this time.
pub const MARK_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// A row as it is kept in Redis; encoded only when it is sent.
pub trait CachedRow: Debug + Send + Sync {
    /// The bytes of the value, without its header.
    fn body(&self) -> Vec<u8>;

    /// The version of the row: of two readings of one row the later has the greater.
    fn version(&self) -> i64;
}

/// A projection whose rows are kept in Redis, one value a row, each with one source partition.
#[async_trait]
pub trait Cached: Send + Sync {
    /// The layout of a value's body; part of the key, so a changed layout is a cold cache.
    fn schema(&self) -> u16;

    /// The id under which what the event changes is cached.
    fn touches(&self, event: &RecordedEvent) -> Option<Touched>;

    /// The version in a body, for comparison with [`CachedRow::version`].
    fn version_of(&self, body: &[u8]) -> Option<i64>;

    /// The rows of these ids and the checkpoints of all partitions, in one snapshot of the active
    /// generation; none while no generation is served.
    ///
    /// # Errors
    /// The database's.
    async fn read(&self, connection: &mut PgConnection, ids: &[Touched]) -> sqlx::Result<Reading>;

    /// The ids that are worth warming, the most recently active first, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    async fn recent(
        &self,
        connection: &mut PgConnection,
        tenant: Option<&TenantId>,
        limit: i64,
    ) -> sqlx::Result<Vec<Touched>>;
}

/// Rows by id, with the standing that they are true as of.
pub type Reading = Option<(Standing, Vec<(Touched, Box<dyn CachedRow>)>)>;

/// A random word that nobody else uses, for a lease.
#[must_use]
pub fn nonce() -> String {
    Uuid::new_v4().simple().to_string()
}
