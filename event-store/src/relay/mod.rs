//! The relay: every event of the store goes to Kafka, per partition in order, at least once.
//!
//! The topic can be made again from the store at any time, so nothing here is a second truth: where
//! a partition goes on is read back from the topic itself, and what Postgres keeps about it
//! (`relayed_position`) is a lower bound for a topic whose records have expired.
//!
//! | module | its part |
//! |---|---|
//! | [`lease`] | who relays a partition |
//! | [`step`] | one step of one partition: send, take acknowledgements, wait |
//! | [`ends`] | beginning and ending a partition's stream: resume, refill, stop |
//! | [`stream`] | the records on their way, in order |
//! | [`survey`], [`resume`] | what the topic holds, and where to go on |
//! | [`hot_events`] | events straight from the lanes of this process |
//! | [`run`] | the loops |
//! | [`topic`], [`topic_log`], [`client`] | Kafka: the topic's settings, reading it back, clients |
//! | [`standing`] | what an operator is shown, and can ask for |

mod client;
mod ends;
mod hot_events;
mod lag;
mod lease;
mod metrics;
mod resume;
mod run;
mod settings;
pub mod standing;
mod step;
mod stream;
mod survey;
pub mod topic;
mod topic_log;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::Partition;
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use self::hot_events::HotEvents;
use self::lease::{Held, Lease, Leases, Mark};
pub use self::run::LoopEnded;
pub use self::settings::{RelaySettings, Target};
pub use self::step::Outcome;
use self::step::State;
pub use self::topic_log::LogError;
use self::topic_log::TopicLog;
use crate::append::{Appender, Heads};
use crate::partition_reader::PartitionReader;
use crate::store::EventStore;

/// Why a partition waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The topic holds a later position than the store.
    TopicAhead,
    /// The topic holds another event at a position than the store.
    OtherHistory,
    /// Kafka refuses a record.
    Undeliverable,
    /// Kafka clients that should be gone hang in closing: others beside them would have no bound.
    Hanging,
}

impl StopReason {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [
        Self::TopicAhead,
        Self::OtherHistory,
        Self::Undeliverable,
        Self::Hanging,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopicAhead => "topic_ahead",
            Self::OtherHistory => "other_history",
            Self::Undeliverable => "undeliverable",
            Self::Hanging => "hanging",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TopicAhead => {
                "the topic is ahead of the store; if the store was restored, begin the next \
                 incarnation with `projector store fork`"
            }
            Self::OtherHistory => {
                "the topic holds another event there than the store; if the store was restored, \
                 begin the next incarnation with `projector store fork`"
            }
            Self::Undeliverable => {
                "Kafka refuses the record; compare the topic with `projector topics check`. It is \
                 not skipped, and goes on by itself"
            }
            Self::Hanging => {
                "Kafka clients hang in closing; it goes on by itself when one of them is closed, \
                 or when this process is started again"
            }
        })
    }
}

/// The relay of one process; clones share everything.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    store_id: Uuid,
    partitions: Vec<Partition>,
    leases: Leases,
    reader: PartitionReader,
    pool: PgPool,
    /// One connection of the pool is left for the leases, whatever the partitions read.
    reads: Semaphore,
    target: Target,
    settings: RelaySettings,
    log: TopicLog,
    slots: Vec<Slot>,
    held: Mutex<Held>,
    hot: Option<Arc<HotEvents>>,
    heads: Option<watch::Receiver<Heads>>,
    topic: Mutex<Option<String>>,
    stopping: CancellationToken,
}

/// What belongs to one partition.
#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<State>,
    wake: Notify,
    /// What `state` has told, for those who must not wait for it.
    told: Mutex<Told>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// The lower bound that Postgres should hold.
    mark: Option<Mark>,
    /// The same as far as it was written.
    written: Option<Mark>,
    stopped: Option<StopReason>,
    /// Its last stream ended in trouble, and no other has begun.
    is_failing: bool,
}

impl Relay {
    /// A relay of `store`. `pool` leads to the primary and checks each of its connections with
    /// [`crate::incarnation::check_connection`]; two connections are the least. With the process's
    /// appender events go straight from its lanes, without one they are read from the store.
    #[must_use]
    pub fn new(
        store: &EventStore,
        pool: PgPool,
        target: Target,
        settings: RelaySettings,
        appender: Option<&Appender>,
    ) -> Self {
        let count = store.partitions();
        metrics::register(count.iter());
        let connections = pool.options().get_max_connections().max(2) - 1;
        let leases = Leases {
            pool: pool.clone(),
            owner: Uuid::now_v7(),
            length: settings.lease,
            partitions: count.get(),
        };
        let inner = Inner {
            store_id: store.store_id(),
            partitions: count.iter().collect(),
            leases,
            reader: store.partition_reader().on(pool.clone()),
            reads: Semaphore::new(usize::try_from(connections).unwrap_or(1)),
            pool,
            log: TopicLog::new(target.clone()),
            target,
            settings,
            slots: count.iter().map(|_| Slot::default()).collect(),
            held: Mutex::default(),
            hot: appender.map(Appender::hot_events),
            heads: appender.map(Appender::heads_changed),
            topic: Mutex::default(),
            stopping: CancellationToken::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Who it is, as `relay_lease.owner` says.
    #[must_use]
    pub fn owner(&self) -> Uuid {
        self.inner.leases.owner
    }

    /// The partitions that it holds.
    #[must_use]
    pub fn partitions_held(&self) -> Vec<Partition> {
        lock(&self.inner.held).keys().copied().collect()
    }

    /// What is not as it should be, in words; nothing when all is well.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        if let Some(complaint) = lock(&self.inner.topic).clone() {
            return Some(complaint);
        }
        let told = |&partition: &Partition| *lock(&self.slot(partition).told);
        let told: Vec<Told> = self.inner.partitions.iter().map(told).collect();
        let stopped = told.iter().filter(|told| told.stopped.is_some()).count();
        let failing = told.iter().filter(|told| told.is_failing).count();
        match (stopped, failing) {
            (0, 0) => None,
            (0, _) => Some(format!(
                "Kafka does not take the events of {failing} partitions; they wait in the event store"
            )),
            _ => Some(format!("the relay of {stopped} partitions has stopped")),
        }
    }

    /// Tends the leases once and writes the lower bounds; the loops do so all the time.
    ///
    /// # Errors
    /// The database's.
    pub async fn tend(&self) -> Result<(), sqlx::Error> {
        let held = self.inner.leases.tend().await?;
        let before = std::mem::replace(&mut *lock(&self.inner.held), held.clone());
        for &partition in &self.inner.partitions {
            let slot = self.slot(partition);
            let (now, then) = (held.get(&partition), before.get(&partition));
            let changed = now.map(|lease| (lease.epoch, lease.refill))
                != then.map(|lease| (lease.epoch, lease.refill));
            if changed {
                slot.wake.notify_one();
            }
        }
        self.write_marks().await
    }

    async fn write_marks(&self) -> Result<(), sqlx::Error> {
        let told = self.inner.slots.iter().map(|slot| *lock(&slot.told));
        let news = told.filter(|told| told.mark != told.written);
        let marks: Vec<_> = news.filter_map(|told| told.mark).collect();
        self.inner.leases.write_marks(&marks).await?;
        for mark in marks {
            lock(&self.slot(mark.partition).told).written = Some(mark);
        }
        Ok(())
    }

    /// The lease of a partition while it is certainly this process's.
    fn lease(&self, partition: Partition) -> Option<Lease> {
        let lease = lock(&self.inner.held).get(&partition).copied()?;
        (Instant::now() < lease.until).then_some(lease)
    }

    fn slot(&self, partition: Partition) -> &Slot {
        &self.inner.slots[partition.index()]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
