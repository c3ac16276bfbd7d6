//! The projection engine: leases say who feeds a partition, a source yields its events, one
//! transaction a batch moves rows and checkpoint together, and the lease's epoch in the checkpoint
//! keeps everybody else out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`source`], [`kafka`] | where events come from |
//! | `continuity`, `batch` | what continues a cursor, and how much of it is one transaction |
//! | `cursor`, `checkpoint` | the cursor and the transaction that moves it |
//! | `poison`, [`parked`], [`repair`] | what cannot be applied |
//! | `attend`, `lease`, `generation` | who works, and on which tables |
//! | `switch` | another generation is shown |
//! | `proof` | what a rebuild's cursor proves |
//! | `rewind` | checkpoints that went back in a crash |
//! | `step`, `run` | one batch, driven by tests; the loops, driven by the clock |
//! | [`standing`] | how far everything is |

mod attend;
pub(crate) mod batch;
pub(crate) mod checkpoint;
mod continuity;
pub(crate) mod cursor;
pub(crate) mod generation;
pub mod kafka;
mod lease;
mod metrics;
pub mod parked;
mod plan;
mod poison;
pub(crate) mod proof;
pub mod repair;
mod rewind;
mod run;
pub mod source;
pub mod standing;
mod step;
pub(crate) mod switch;
mod tell;
mod trace;
mod wake;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use event_store::{EventStore, PartitionReader};
use events::{IncarnationLog, Partition, PartitionCount};
use read_model::projection::Projection;
use sqlx::PgPool;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use batch::BatchLimits;
pub use read_model::Applied;
pub use run::LoopEnded;
pub use step::Outcome;

use crate::cache::Queue;
use checkpoint::CheckpointKey;
use cursor::Cursor;
use lease::LeaseScope;
use plan::Plan;
use source::{PostgresSource, Source};

/// How many batches a slow subscriber may fall behind before it is told that it missed some.
const APPLIED_BACKLOG_MAX: usize = 1024;

/// The engine's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// How long a lease lasts without being renewed (`PROJECTOR_LEASE`).
    pub lease: Duration,
    /// `PROJECTION_BATCH_EVENTS` and `PROJECTION_BATCH_ROWS`.
    pub batch: BatchLimits,
    /// More parked keys than this in one partition are a suspect deploy (`PARKED_KEYS_MAX`).
    pub parked_keys_max: usize,
    /// How often the heads are looked at behind the wake-ups (`SOURCE_SILENCE_MAX`).
    pub silence_max: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            batch: BatchLimits {
                events_max: 1_000,
                rows_max: 20_000,
            },
            parked_keys_max: 100,
            silence_max: Duration::from_millis(250),
        }
    }
}

/// How the engine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineHealth {
    /// Projections that stopped because they would park too many keys.
    pub suspect: Vec<&'static str>,
    /// Projections that are not shown yet.
    pub filling: Vec<&'static str>,
    /// Projections that an operator has paused.
    pub paused: Vec<&'static str>,
    /// Whether the leases could be tended lately.
    pub attending: bool,
}

/// The engine; clones are the same one.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    source: Arc<dyn Source>,
    /// Fills holes, whatever the source is.
    store: PostgresSource,
    reader: PartitionReader,
    projections: Vec<&'static dyn Projection>,
    partitions: PartitionCount,
    settings: EngineSettings,
    owner: Uuid,
    plan: Mutex<Plan>,
    slots: Vec<Slot>,
    /// Somebody wants leases and generations to be looked at now.
    attention: Notify,
    applied: broadcast::Sender<Applied>,
    /// Who writes to Redis what was committed.
    follower: OnceLock<Queue>,
    stopping: CancellationToken,
}

/// What belongs to one partition.
#[derive(Default)]
struct Slot {
    cursors: tokio::sync::Mutex<Vec<Cursor>>,
    wake: Notify,
}

impl Engine {
    /// An engine that reads from the event store itself. `pool` leads to the primary and checks
    /// each new connection's incarnation.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(
        pool: PgPool,
        store: &EventStore,
        projections: &[&'static dyn Projection],
        settings: EngineSettings,
    ) -> Result<Self, sqlx::Error> {
        Self::open_as(Uuid::new_v4(), pool, store, projections, settings).await
    }

    /// The same under an id that stays. Only for a process that is certainly the one with this id,
    /// because it holds a lock or the like: when it was killed, the next one has its leases back at
    /// once instead of waiting until they have run out. Nothing hangs on that certainty but who
    /// works: a batch that the server still commits for the dead process moves the checkpoint, and
    /// every batch says from where it moves it.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_as(
        owner: Uuid,
        pool: PgPool,
        store: &EventStore,
        projections: &[&'static dyn Projection],
        settings: EngineSettings,
    ) -> Result<Self, sqlx::Error> {
        let reader = store.partition_reader().on(pool.clone());
        let source = Arc::new(PostgresSource::new(reader));
        Self::open_with_source(owner, pool, store, projections, settings, source).await
    }

    /// The same, reading from `source`, and from the event store where the source leaves holes.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_with_source(
        owner: Uuid,
        pool: PgPool,
        store: &EventStore,
        projections: &[&'static dyn Projection],
        settings: EngineSettings,
        source: Arc<dyn Source>,
    ) -> Result<Self, sqlx::Error> {
        metrics::register(projections);
        let reader = store.partition_reader().on(pool.clone());
        let partitions = store.partitions();
        let log = event_store::incarnation::load_log(&pool).await?;
        let engine = Self {
            inner: Arc::new(Inner {
                source,
                store: PostgresSource::new(reader.clone()),
                reader,
                projections: projections.to_vec(),
                partitions,
                settings,
                owner,
                plan: Mutex::new(Plan::new(log)),
                slots: partitions.iter().map(|_| Slot::default()).collect(),
                attention: Notify::new(),
                applied: broadcast::Sender::new(APPLIED_BACKLOG_MAX),
                follower: OnceLock::new(),
                stopping: CancellationToken::new(),
                pool,
            }),
        };
        for projection in projections {
            lease::create(
                &engine.inner.pool,
                engine.scope(*projection),
                partitions.get(),
            )
            .await?;
        }
        Ok(engine)
    }

    /// Everything that is committed from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Applied> {
        self.inner.applied.subscribe()
    }

    /// The partitions of the store.
    #[must_use]
    pub fn partitions(&self) -> PartitionCount {
        self.inner.partitions
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> EngineHealth {
        self.plan()
            .health(&self.inner.projections, self.inner.settings.lease)
    }

    /// Which partitions of `projection` this engine feeds.
    #[must_use]
    pub fn holds(&self, projection: &str) -> Vec<Partition> {
        self.plan().holds(projection)
    }

    /// The checkpoints of active generations that this engine moves.
    pub(crate) fn active_tasks(&self) -> Vec<(&'static dyn Projection, CheckpointKey)> {
        let plan = self.plan();
        let tasks = self.inner.partitions.iter().flat_map(|partition| {
            let tasks = plan.tasks(&self.inner.projections, partition);
            tasks.into_iter().filter(|task| plan.is_active(task.key))
        });
        tasks.map(|task| (task.projection, task.key)).collect()
    }

    /// The database, and the reader of its events.
    pub(crate) fn store(&self) -> (&PgPool, &PartitionReader) {
        (&self.inner.pool, &self.inner.reader)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.inner
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> Arc<IncarnationLog> {
        self.plan().log()
    }

    fn slot(&self, partition: Partition) -> &Slot {
        &self.inner.slots[partition.index()]
    }

    fn scope(&self, projection: &dyn Projection) -> LeaseScope {
        LeaseScope {
            projection: projection.name(),
            revision: projection.revision(),
            owner: self.inner.owner,
            length: self.inner.settings.lease,
        }
    }

    /// Says that `partition` has new events.
    pub fn wake(&self, partition: Partition) {
        if let Some(slot) = self.inner.slots.get(partition.index()) {
            slot.wake.notify_one();
        }
    }

    /// Says that any partition may have new events.
    pub fn wake_all(&self) {
        for slot in &self.inner.slots {
            slot.wake.notify_one();
        }
    }
}
