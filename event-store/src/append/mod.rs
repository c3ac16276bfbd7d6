//! Group commit with gapless positions.
//!
//! A lane owns the partitions whose number is its own modulo the number of lanes. It has a
//! connection outside every pool and a thread of its own; it takes whatever has arrived while its
//! previous batch was committing, and never sleeps to fill a batch. One batch is one transaction,
//! the common one three round trips: lock the heads, insert, move the heads and commit. Between
//! lock and insert the judge says, in plain Rust, what becomes of each entry.
//!
//! | module | its part |
//! |---|---|
//! | [`lane`] | the loop: take, run, try again, answer |
//! | [`connection`] | the lane's connection: its guards and time-outs |
//! | [`batch`] | one attempt of one batch |
//! | [`window`], [`streams`] | what changed lately, so that nothing is read under the lock |
//! | [`acquire`] | locking the keys that a batch touches |
//! | [`judge`] | the verdicts, without I/O |
//! | [`write`](mod@write) | the statements that write |
//! | [`unknown`] | what became of a commit whose answer was lost |
//! | [`failure`] | which failures are whose |
//! | [`wake`] | telling others that heads have moved |

mod acquire;
mod batch;
mod candidate;
mod columns;
mod connection;
mod failure;
mod judge;
mod lane;
mod streams;
mod sweep;
mod unknown;
mod wake;
mod window;
mod write;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use events::Partition;
use events::event::EVENT_BYTES_MAX;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::entry::{AppendError, Entry, Verdict};
use crate::metrics;
use crate::relay::HotEvents;
use crate::store::EventStore;
use candidate::Candidate;
use lane::Job;
pub use wake::{CHANNEL, Heads};

/// Bounds of the append.
#[derive(Clone, Copy, Debug)]
pub struct AppendSettings {
    /// Lanes; more than the partitions make no sense and are not started.
    pub lanes: u16,
    /// Entries that may wait at one lane.
    pub queue_max: usize,
    /// Entries of one batch.
    pub batch_max: usize,
    /// Streams that the window of one partition remembers.
    pub window_streams: usize,
    /// The longest tail of another node's events that is read; behind a longer one the window
    /// begins anew.
    pub tail_max: i64,
    /// How long an idempotency key is remembered.
    pub outcome_retention: Duration,
    /// Types of aggregates whose id does not contain their routing key: creating one makes a
    /// `stream_home` row.
    pub homed_types: &'static [&'static str],
}

impl Default for AppendSettings {
    fn default() -> Self {
        Self {
            lanes: 2,
            queue_max: 4096,
            batch_max: 512,
            window_streams: 65_536,
            tail_max: 10_000,
            outcome_retention: Duration::from_secs(24 * 60 * 60),
            homed_types: &[],
        }
    }
}

/// Why the append could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bound is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The operating system gave no thread.
    #[error("a lane's thread could not be started")]
    Thread(#[from] std::io::Error),
}

/// Appends entries; clones share the lanes.
#[derive(Clone, Debug)]
pub struct Appender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: EventStore,
    homed_types: &'static [&'static str],
    queues: Vec<mpsc::Sender<Job>>,
    heads: watch::Receiver<Heads>,
    hot: Arc<HotEvents>,
    stop: CancellationToken,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Appender {
    /// Starts the lanes. `options` leads to the primary, directly or through a pooler in session
    /// mode. Must be called in a tokio runtime, which runs the notifier and the sweep of expired
    /// answers.
    ///
    /// # Errors
    /// [`StartError`]. A server that cannot be reached is no error: entries are refused until it is
    /// there.
    pub fn start(
        store: EventStore,
        options: PgConnectOptions,
        settings: AppendSettings,
    ) -> Result<Self, StartError> {
        check(&settings)?;
        metrics::register();
        let lanes = settings.lanes.min(store.partitions().get());
        let (sender, heads) = watch::channel(Heads::new(store.partitions()));
        let sender = Arc::new(sender);
        let hot = Arc::new(HotEvents::new(store.partitions()));
        let stop = CancellationToken::new();
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for number in 0..lanes {
            let (queue, jobs) = mpsc::channel(settings.queue_max);
            let lane = lane::LaneSettings {
                number,
                lanes,
                store: store.clone(),
                options: options.clone(),
                append: settings,
                heads: Arc::clone(&sender),
                hot: Arc::clone(&hot),
                stop: stop.clone(),
            };
            threads.push(lane::start(lane, jobs)?);
            queues.push(queue);
        }
        tokio::spawn(wake::notify(options, heads.clone(), stop.clone()));
        tokio::spawn(sweep::sweep_outcomes(store.clone(), stop.clone()));
        let threads = Mutex::new(threads);
        let shared = Shared {
            store,
            homed_types: settings.homed_types,
            queues,
            heads,
            hot,
            stop,
            threads,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Appends one entry and waits for its verdict. Dropping the future does not take the entry
    /// back.
    ///
    /// # Errors
    /// [`AppendError`]; only [`AppendError::OutcomeUnknown`] leaves open whether there was an
    /// effect.
    pub async fn append(&self, entry: Entry) -> Result<Verdict, AppendError> {
        self.check(&entry)?;
        let lane = entry.partition.index() % self.shared.queues.len();
        let (answer, verdict) = oneshot::channel();
        let arrived = Instant::now();
        let homed_types = self.shared.homed_types;
        let candidate = Candidate::new(entry, self.shared.store.partitions(), homed_types);
        let job = Job { candidate, answer };
        self.shared.queues[lane]
            .try_send(job)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AppendError::QueueFull,
                mpsc::error::TrySendError::Closed(_) => AppendError::ShuttingDown,
            })?;
        let verdict = verdict.await.unwrap_or(Err(AppendError::OutcomeUnknown));
        metrics::APPEND_SECONDS.observe(arrived.elapsed().as_secs_f64());
        verdict
    }

    /// The heads as this process knows them; changes with every commit of its lanes and when a lane
    /// sees another's.
    #[must_use]
    pub fn heads_changed(&self) -> watch::Receiver<Heads> {
        self.shared.heads.clone()
    }

    /// What the lanes have just committed, for the relay of this process.
    pub(crate) fn hot_events(&self) -> Arc<HotEvents> {
        Arc::clone(&self.shared.hot)
    }

    /// How many entries wait at each lane.
    #[must_use]
    pub fn queue_depths(&self) -> Vec<usize> {
        let depth = |queue: &mpsc::Sender<Job>| queue.max_capacity() - queue.capacity();
        self.shared.queues.iter().map(depth).collect()
    }

    /// Takes no more entries, gives every waiting one its verdict, and ends the lanes.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        let threads = self.take_threads();
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        if tokio::task::spawn_blocking(join).await.is_err() {
            tracing::error!("waiting for the lanes failed");
        }
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        let mut threads = self
            .shared
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *threads)
    }

    /// What the edge promised. An entry that breaks it is a bug of the caller and would spoil more
    /// than itself.
    fn check(&self, entry: &Entry) -> Result<(), AppendError> {
        let count = self.shared.store.partitions();
        let home = |partition: Partition| partition == entry.partition;
        let streams = entry.conditions.iter().map(|condition| &condition.stream);
        let written = entry.writes.iter().map(|write| &write.stream);
        for stream in streams.chain(written) {
            if stream.tenant != entry.scope.tenant {
                return Err(AppendError::Malformed("a stream of another tenant"));
            }
            if !home(stream.partition(count)) {
                return Err(AppendError::Malformed("a stream of another partition"));
            }
        }
        for (index, write) in entry.writes.iter().enumerate() {
            if write.events.is_empty() {
                return Err(AppendError::Malformed("a write without events"));
            }
            if entry.writes[..index]
                .iter()
                .any(|other| other.stream == write.stream)
            {
                return Err(AppendError::Malformed("a stream written twice"));
            }
            let too_long = |event: &events::NewEvent| event.payload.get().len() > EVENT_BYTES_MAX;
            if write.events.iter().any(too_long) {
                return Err(AppendError::Malformed("an event that is too long"));
            }
        }
        if entry.writes.is_empty() && entry.conditions.is_empty() {
            return Err(AppendError::Malformed("neither a write nor a condition"));
        }
        Ok(())
    }
}

fn check(settings: &AppendSettings) -> Result<(), StartError> {
    for (name, zero) in [
        ("append_lanes", settings.lanes == 0),
        ("append_queue_max", settings.queue_max == 0),
        ("append_batch_max", settings.batch_max == 0),
        ("append_window_streams", settings.window_streams == 0),
    ] {
        if zero {
            return Err(StartError::Zero(name));
        }
    }
    Ok(())
}
