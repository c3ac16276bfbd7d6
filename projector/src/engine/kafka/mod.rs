//! Kafka as a source. It is an ordinary reader's faster way to the same events and never the truth:
//! every record is checked against the cursor, what Kafka leaves out or does not give in time comes
//! from the event store, and Kafka is used again as soon as it continues the cursor.
//!
//! | module | what it holds |
//! |---|---|
//! | `flow` | the decisions about one partition |
//! | `lane` | a partition's queue of the consumer, and its flow |
//! | `consumer` | the consumer, assigned by hand |
//! | `keeper` | the thread that looks after the consumer |
//! | `closing` | letting consumers go |

mod closing;
mod consumer;
mod flow;
mod keeper;
mod lane;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use event_store::EventStore;
use events::{IncarnationLog, Partition};
use platform::config::KafkaSettings;
use sqlx::PgPool;
use uuid::Uuid;

pub use consumer::GROUP_ID;

use super::metrics;
use super::source::{Ask, PostgresSource, Source, SourceError, Stretch};
use flow::{Route, Taken};
use keeper::Keeper;
use lane::Lane;

/// How long a consumer may give nothing although the topic has more, before it is replaced.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Reads from Kafka what continues a cursor, and everything else from the event store.
pub struct KafkaSource {
    shared: Arc<Shared>,
    orders: SyncSender<()>,
    store: PostgresSource,
    pool: PgPool,
    log: Mutex<Arc<IncarnationLog>>,
    silence_max: Duration,
}

/// What the keeper's thread shares.
struct Shared {
    brokers: String,
    topic: String,
    store_id: Uuid,
    stuck_after: Duration,
    lanes: Vec<Arc<Lane>>,
    is_stopping: AtomicBool,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}

impl KafkaSource {
    /// Begins to look after a consumer; a broker that does not answer is tried again for ever.
    /// `silence_max` is how long Kafka may leave a cursor below the head.
    ///
    /// # Errors
    /// When the thread cannot be started, or the database does not tell the incarnations.
    pub async fn open(
        kafka: &KafkaSettings,
        pool: PgPool,
        store: &EventStore,
        silence_max: Duration,
    ) -> Result<Self, sqlx::Error> {
        Self::open_watched(kafka, pool, store, silence_max, STUCK_AFTER).await
    }

    /// The same, with another patience for a consumer that gives nothing.
    ///
    /// # Errors
    /// As [`KafkaSource::open`].
    pub async fn open_watched(
        kafka: &KafkaSettings,
        pool: PgPool,
        store: &EventStore,
        silence_max: Duration,
        stuck_after: Duration,
    ) -> Result<Self, sqlx::Error> {
        metrics::register_kafka();
        let log = event_store::incarnation::load_log(&pool).await?;
        let lanes = store
            .partitions()
            .iter()
            .map(|partition| Arc::new(Lane::new(partition)));
        let shared = Arc::new(Shared {
            brokers: kafka.brokers.clone(),
            topic: kafka.topic.clone(),
            store_id: store.store_id(),
            stuck_after,
            lanes: lanes.collect(),
            is_stopping: AtomicBool::new(false),
        });
        let (orders, received) = sync_channel(1);
        let keeper = Keeper::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("kafka-source".to_owned());
        thread.spawn(move || keeper.run(&received))?;
        Ok(Self {
            shared,
            orders,
            store: PostgresSource::new(store.partition_reader().on(pool.clone())),
            pool,
            log: Mutex::new(Arc::new(log)),
            silence_max,
        })
    }

    fn lane(&self, partition: Partition) -> &Lane {
        &self.shared.lanes[partition.index()]
    }

    /// One order that was not looked at yet is as good as two.
    fn order(&self) {
        self.orders.try_send(()).ok();
    }

    /// The newest log that is known, with an incarnation of this number at least.
    async fn log(&self, ask: &Ask, at_least: i32) -> Result<Arc<IncarnationLog>, SourceError> {
        let known = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.current() < ask.log.current() {
                *log = Arc::clone(&ask.log);
            }
            Arc::clone(&log)
        };
        if known.current() >= at_least {
            return Ok(known);
        }
        let fresh = event_store::incarnation::load_log(&self.pool).await;
        let fresh = Arc::new(fresh.map_err(|error| SourceError {
            partition: ask.partition,
            source: Box::new(error),
        })?);
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }

    /// Reads the store, no further than `upto`.
    async fn read_store(&self, ask: &Ask, upto: i64) -> Result<Stretch, SourceError> {
        let lane = self.lane(ask.partition);
        let attachment = lane.feed().flow.attachment();
        let room = usize::try_from(upto.saturating_sub(ask.after)).unwrap_or(0);
        let limit = ask.limit.min(room);
        let stretch = self
            .store
            .read(Ask {
                limit,
                ..ask.clone()
            })
            .await?;
        let last = stretch.events.last();
        let last = last.map_or(ask.after, |event| event.address.position);
        let mut feed = lane.feed();
        feed.flow
            .store_gave(last, stretch.head, attachment, Instant::now());
        Ok(stretch)
    }

    /// Takes what Kafka has; nothing when its queue broke and another way must be taken.
    async fn take(&self, ask: &Ask) -> Result<Option<(Taken, i32)>, SourceError> {
        let lane = self.lane(ask.partition);
        let newest = {
            let mut feed = lane.feed();
            let drained = feed.drain(
                self.shared.store_id,
                ask.partition,
                ask.limit,
                Instant::now(),
            );
            match drained {
                Ok(true) => lane.arrival.notify_one(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(
                        partition = ask.partition.0,
                        error = %error,
                        "partition {} cannot be read from Kafka; it is attached anew",
                        ask.partition
                    );
                    self.attach_anew(&mut feed);
                    return Ok(None);
                }
            }
            feed.flow.newest_incarnation().unwrap_or(0)
        };
        // A record of an incarnation that is not known yet tells that others may be void.
        let log = self.log(ask, newest).await?;
        let mut feed = lane.feed();
        let void = feed.flow.drop_void(&log);
        drop_records("void", void);
        let taken = feed
            .flow
            .take(ask.after, ask.limit, Instant::now(), self.silence_max);
        if matches!(taken, Taken::Lied) {
            tracing::info!(
                partition = ask.partition.0,
                "the checkpoint's Kafka offset is wrong; partition {} is read from the end",
                ask.partition
            );
            self.attach_anew(&mut feed);
            return Ok(None);
        }
        Ok(Some((taken, log.current())))
    }

    fn attach_anew(&self, feed: &mut lane::Feed) {
        feed.flow.detach();
        feed.is_broken = true;
        feed.wanted = Some(None);
        self.order();
    }

    /// What is missing before the next record; nothing when the store has no such record either.
    async fn fill(&self, ask: &Ask, upto: i64) -> Result<Option<Stretch>, SourceError> {
        let stretch = self.read_store(ask, upto).await?;
        if stretch.head <= upto {
            tracing::error!(
                partition = ask.partition.0,
                position = upto + 1,
                head = stretch.head,
                "dropped a record that is ahead of the event store"
            );
            drop_records("ahead", 1);
            self.lane(ask.partition).feed().flow.drop_first();
            return Ok(None);
        }
        if stretch
            .events
            .last()
            .is_some_and(|last| last.address.position == upto)
        {
            metrics::HOLES_FILLED.inc();
            tracing::warn!(
                partition = ask.partition.0,
                after = ask.after,
                upto,
                "Kafka left events out; they come from the store"
            );
        }
        Ok(Some(stretch))
    }
}

fn drop_records(reason: &str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    metrics::RECORDS_DROPPED
        .with_label_values(&[reason])
        .inc_by(count);
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.order();
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn read(&self, ask: Ask) -> Result<Stretch, SourceError> {
        let lane = self.lane(ask.partition);
        loop {
            let route = {
                let mut feed = lane.feed();
                if feed.wanted.is_none() {
                    feed.wanted = Some(ask.kafka_offset);
                    self.order();
                }
                feed.flow.route(ask.after)
            };
            if let Route::Store { upto } = route {
                return self.read_store(&ask, upto).await;
            }
            let Some((taken, incarnation)) = self.take(&ask).await? else {
                continue;
            };
            match taken {
                Taken::Run {
                    events,
                    kafka_offset,
                    head,
                } => {
                    return Ok(Stretch {
                        events,
                        head,
                        incarnation,
                        kafka_offset: Some(kafka_offset),
                    });
                }
                Taken::Hole { upto } => {
                    if let Some(stretch) = self.fill(&ask, upto).await? {
                        return Ok(stretch);
                    }
                }
                Taken::Silent => {
                    let stretch = self.read_store(&ask, i64::MAX).await?;
                    if !stretch.events.is_empty() {
                        metrics::SILENCES.inc();
                        lane.feed().flow.be_silent();
                    }
                    return Ok(stretch);
                }
                Taken::Nothing { head } => {
                    return Ok(Stretch {
                        events: Vec::new(),
                        head,
                        incarnation,
                        kafka_offset: None,
                    });
                }
                Taken::Lied => {}
            }
        }
    }

    async fn arrived(&self, partition: Partition) {
        self.lane(partition).arrival.notified().await;
    }

    fn heard(&self, partition: Partition, head: Option<i64>) {
        self.lane(partition).feed().flow.hear(head, Instant::now());
    }

    fn look_again(&self, partition: Partition) -> Option<Duration> {
        let feed = self.lane(partition).feed();
        feed.flow.rest(Instant::now(), self.silence_max)
    }

    fn applied(&self, partition: Partition, position: i64) {
        let mut feed = self.lane(partition).feed();
        if feed.flow.has_applied(position) {
            feed.applied = Some(feed.next_offset());
        }
    }

    fn retain(&self, partitions: &BTreeSet<Partition>) {
        for lane in &self.shared.lanes {
            if !partitions.contains(&lane.partition) && lane.feed().wanted.take().is_some() {
                let mut feed = lane.feed();
                feed.flow.detach();
                feed.is_broken = true;
                drop(feed);
                self.order();
            }
        }
    }
}
