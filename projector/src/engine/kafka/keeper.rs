//! Looks after the consumer, on a thread of its own because librdkafka's calls block: makes it,
//! attaches and detaches partitions, commits offsets, and replaces a consumer that has stopped
//! giving anything although there is something.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use super::Shared;
use super::closing::Closing;
use super::consumer::{self, Consumer, Queue};
use super::lane::Lane;
use crate::engine::metrics;

/// How often the consumer's own queue is served when nobody asks for anything.
const SERVE_INTERVAL: Duration = Duration::from_millis(100);

/// How often offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait after the broker did not answer.
const RETRY_REST: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    consumer: Option<Arc<Consumer>>,
    closing: Closing,
    not_before: Instant,
    committed: Instant,
    watched: Instant,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            consumer: None,
            closing: Closing::new(),
            not_before: now,
            committed: now,
            watched: now,
        }
    }

    /// Works until the source is dropped.
    pub(super) fn run(mut self, orders: &Receiver<()>) {
        while !self.shared.is_stopping() {
            // An order or the time; the sender lives as long as this does.
            orders.recv_timeout(SERVE_INTERVAL).ok();
            self.tend();
        }
        self.commit();
        self.close();
    }

    fn tend(&mut self) {
        let now = Instant::now();
        if now < self.not_before {
            return;
        }
        match self.serve(now) {
            Ok(None) => {}
            // Nobody but the keeper holds the consumer any more: it is not closed here.
            Ok(Some(why)) => self.replace(why),
            Err(error) => {
                tracing::debug!(error = %error, "Kafka does not answer; the event store is read");
                self.not_before = Instant::now() + RETRY_REST;
            }
        }
    }

    /// Returns why the consumer must be replaced, if it must.
    fn serve(&mut self, now: Instant) -> Result<Option<&'static str>, KafkaError> {
        let Some(consumer) = self.consumer()? else {
            return Ok(None);
        };
        while let Some(served) = consumer.poll(Duration::ZERO) {
            if let Err(KafkaError::MessageConsumptionFatal(_)) = served {
                return Ok(Some("it met an error that it cannot recover from"));
            }
        }
        // One partition without a leader keeps no other from being read.
        let mut first_error = None;
        for lane in &self.shared.lanes {
            if let Err(error) = tend_lane(&consumer, &self.shared.topic, lane) {
                first_error.get_or_insert(error);
            }
        }
        if now.duration_since(self.committed) >= COMMIT_INTERVAL {
            self.committed = now;
            self.commit();
        }
        if now.duration_since(self.watched) >= self.shared.stuck_after / 2 {
            self.watched = now;
            if self.is_stuck(&consumer)? {
                return Ok(Some("it gives nothing although there are records"));
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// The consumer, made when there is none and somebody wants to read.
    fn consumer(&mut self) -> Result<Option<Arc<Consumer>>, KafkaError> {
        let is_wanted = |lane: &Arc<Lane>| lane.feed().wanted.is_some();
        if self.consumer.is_none() && self.shared.lanes.iter().any(is_wanted) {
            if !self.closing.has_room() {
                return Ok(None);
            }
            self.consumer = Some(consumer::create(&self.shared.brokers)?);
        }
        Ok(self.consumer.clone())
    }

    fn commit(&self) {
        let Some(consumer) = &self.consumer else {
            return;
        };
        let applied = self.shared.lanes.iter().filter_map(|lane| {
            let offset = lane.feed().applied.take()?;
            Some((lane.partition, offset))
        });
        let applied: Vec<_> = applied.collect();
        if applied.is_empty() {
            return;
        }
        if let Err(error) = consumer::commit(consumer, &self.shared.topic, &applied) {
            tracing::debug!(error = %error, "offsets could not be committed");
        }
    }

    /// Compares what has given nothing for long with the topic's end.
    fn is_stuck(&self, consumer: &Consumer) -> Result<bool, KafkaError> {
        for lane in &self.shared.lanes {
            let offset = {
                let feed = lane.feed();
                let dry = feed.dry_since.map(|since| since.elapsed());
                // Nobody has asked it for a while: its projections are paused, or far behind.
                let unasked = feed
                    .asked_at
                    .is_none_or(|at| at.elapsed() > self.shared.stuck_after / 2);
                let is_young = dry.is_none_or(|dry| dry < self.shared.stuck_after);
                if feed.queue.is_none() || unasked || is_young {
                    continue;
                }
                feed.offset
            };
            let topic = &self.shared.topic;
            let end = consumer::end_of(consumer, topic, lane.partition)?;
            // What it has passed and not given are the markers of others' transactions.
            let passed = consumer::passed(consumer, topic, lane.partition)?;
            let feed = lane.feed();
            if end > offset.max(passed) && feed.offset == offset && feed.dry_since.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next consumer goes on where this one stopped.
    fn replace(&mut self, why: &str) {
        metrics::CONSUMERS_REPLACED.inc();
        tracing::warn!("the Kafka consumer is replaced: {why}");
        self.not_before = Instant::now() + RETRY_REST;
        for lane in &self.shared.lanes {
            let mut feed = lane.feed();
            if feed.queue.is_some() && feed.wanted.is_some() {
                feed.wanted = Some(Some(feed.next_offset()));
            }
        }
        self.close();
    }

    /// Lets the consumer go.
    fn close(&mut self) {
        let queues: Vec<Queue> = self
            .shared
            .lanes
            .iter()
            .filter_map(|lane| lane.feed().detach())
            .collect();
        let Some(consumer) = self.consumer.take() else {
            return;
        };
        self.closing.let_go((queues, consumer));
    }
}

/// Attaches or detaches one partition, as it is wanted.
fn tend_lane(consumer: &Arc<Consumer>, topic: &str, lane: &Lane) -> Result<(), KafkaError> {
    let (wanted, is_broken, is_attached) = {
        let feed = lane.feed();
        (feed.wanted, feed.is_broken, feed.queue.is_some())
    };
    if is_attached && (is_broken || wanted.is_none()) {
        consumer::detach(consumer, topic, lane.partition);
        drop(lane.feed().detach());
    } else if is_attached {
        return Ok(());
    }
    let Some(hint) = wanted else {
        return Ok(());
    };
    let arrival = Arc::clone(&lane.arrival);
    let attached = consumer::attach(consumer, topic, lane.partition, hint, arrival)?;
    tracing::debug!(
        partition = lane.partition.0,
        offset = attached.offset,
        hinted = attached.hinted,
        "partition {} is read from Kafka",
        lane.partition
    );
    let mut feed = lane.feed();
    // A hint is good for once.
    feed.wanted = feed.wanted.map(|_| None);
    feed.attach(attached, Instant::now());
    drop(feed);
    lane.arrival.notify_one();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use events::{Address, Partition, RecordedEvent, TenantId};
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::Consumer as _;
    use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
    use serde_json::value::RawValue;
    use testkit::{TestTopic, TopicWriter, eventually};
    use uuid::Uuid;

    use super::super::closing::tests::fill;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn event(position: i64) -> RecordedEvent {
        RecordedEvent {
            address: Address {
                partition: Partition(0),
                position,
            },
            stream_no: 1,
            sequence: position,
            event_id: Uuid::from_u128(5),
            tenant: TenantId::parse("acme").unwrap(),
            aggregate_type: "user".to_owned(),
            aggregate_id: "a".to_owned(),
            routing_key: "a".to_owned(),
            event_type: "UserRegistered".to_owned(),
            event_version: 1,
            payload: RawValue::from_string("{}".to_owned()).unwrap(),
            metadata: RawValue::from_string("{}".to_owned()).unwrap(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    async fn produce(topic: &TestTopic, position: i64) {
        let writer = TopicWriter::new(topic, Uuid::nil());
        writer.send(&[&event(position)], 1).await;
    }

    /// How many records have come.
    fn come(keeper: &mut Keeper) -> usize {
        keeper.tend();
        let mut feed = keeper.shared.lanes[0].feed();
        feed.drain(Uuid::nil(), Partition(0), 10, Instant::now())
            .unwrap();
        feed.flow.pending()
    }

    /// A keeper of one partition, which somebody wants read.
    fn keeper(topic: &TestTopic, stuck_after: Duration) -> Keeper {
        let shared = Shared {
            brokers: topic.brokers().to_owned(),
            topic: topic.name().to_owned(),
            store_id: Uuid::nil(),
            stuck_after,
            lanes: vec![Arc::new(Lane::new(Partition(0)))],
            is_stopping: AtomicBool::new(false),
        };
        shared.lanes[0].feed().wanted = Some(None);
        Keeper::new(Arc::new(shared))
    }

    async fn eventually_attached(keeper: &mut Keeper) {
        eventually(PATIENCE, || {
            keeper.tend();
            let attached = keeper.shared.lanes[0].feed().queue.is_some();
            async move { attached.then_some(()).ok_or("not attached") }
        })
        .await;
    }

    async fn eventually_come(keeper: &mut Keeper, count: usize) {
        eventually(PATIENCE, || {
            let come = come(keeper);
            async move { if come == count { Ok(()) } else { Err(come) } }
        })
        .await;
    }

    #[tokio::test]
    async fn while_closes_hang_no_consumer_is_made_and_one_is_when_one_of_them_ends() {
        let topic = TestTopic::create().await;
        let mut keeper = keeper(&topic, Duration::from_secs(60));
        let mut hanging = fill(&keeper.closing);
        keeper.tend();
        assert!(keeper.consumer.is_none());
        hanging.pop();
        eventually_attached(&mut keeper).await;
    }

    /// Somebody else's transaction, begun and with one record.
    fn begin_transaction(topic: &TestTopic) -> FutureProducer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", topic.brokers())
            .set("transactional.id", topic.name());
        let producer: FutureProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let foreign = FutureRecord::<(), _>::to(topic.name()).payload("");
        drop(producer.send_result(foreign.partition(0)).unwrap());
        producer.flush(PATIENCE).unwrap();
        producer
    }

    #[tokio::test]
    async fn an_open_transaction_holds_nothing_back_and_its_marker_is_not_waited_for() {
        let topic = TestTopic::create().await;
        let mut keeper = keeper(&topic, Duration::from_secs(10));
        eventually_attached(&mut keeper).await;
        let others = begin_transaction(&topic);
        produce(&topic, 1).await;
        eventually_come(&mut keeper, 1).await;
        others.commit_transaction(PATIENCE).unwrap();
        let consumer = keeper.consumer.clone().unwrap();
        eventually(PATIENCE, || {
            come(&mut keeper);
            let passed = consumer::passed(&consumer, topic.name(), Partition(0)).unwrap();
            async move { if passed == 3 { Ok(()) } else { Err(passed) } }
        })
        .await;
        assert_eq!(keeper.shared.lanes[0].feed().offset, 2);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(20));
        keeper.shared.lanes[0].feed().dry_since = long_ago;
        assert!(!keeper.is_stuck(&consumer).unwrap());
    }

    #[tokio::test]
    async fn a_consumer_that_gives_nothing_although_there_is_something_is_replaced() {
        let topic = TestTopic::create().await;
        let mut keeper = keeper(&topic, Duration::from_millis(200));
        produce(&topic, 1).await;
        eventually_attached(&mut keeper).await;
        // Behind the source's back it stops giving anything, as one does that is stuck.
        let stuck = keeper.consumer.clone().unwrap();
        stuck.pause(&stuck.assignment().unwrap()).unwrap();
        drop(stuck);
        produce(&topic, 2).await;
        produce(&topic, 3).await;
        eventually_come(&mut keeper, 2).await;
        let first = keeper.shared.lanes[0].feed().flow.first_pending();
        assert_eq!(first, Some(1), "it goes on where the stuck one stopped");
    }
}
