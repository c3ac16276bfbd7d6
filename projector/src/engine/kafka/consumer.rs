//! The one Kafka consumer of the process: its settings, and the few things that are done with it.
//! Partitions are assigned by hand and sought by number; there is no rebalance.

use std::sync::Arc;
use std::time::Duration;

use events::Partition;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Notify;

/// Offsets are committed under this group, so that ordinary Kafka tools show how far the
/// projections have come. Nothing reads them back.
pub const GROUP_ID: &str = "runnel.projector";

/// How long the broker may take for an answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);

/// What waits in the client, per partition: back-pressure is that no more is fetched.
const QUEUED_RECORDS_MIN: &str = "2000";
const QUEUED_KBYTES_MAX: &str = "4096";

pub(super) type Consumer = BaseConsumer<Context>;
pub(super) type Queue = PartitionQueue<Context>;

/// Where librdkafka says what it thinks.
pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "librdkafka: {message}");
            }
            // A broker that is down says so with every attempt to connect: what follows from it,
            // a silent partition, is told once.
            _ => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(error = %error, "offsets could not be committed");
        }
    }
}

/// A consumer with nothing assigned. The relay uses no transactions, so an open one of somebody
/// else must not hold its records back.
pub(super) fn create(brokers: &str) -> KafkaResult<Arc<Consumer>> {
    Ok(Arc::new(config(brokers).create_with_context(Context)?))
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", GROUP_ID)
        .set("group.id", GROUP_ID)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_uncommitted")
        .set("check.crcs", "true")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.max.ms", "1000")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", QUEUED_RECORDS_MIN)
        .set("queued.max.messages.kbytes", QUEUED_KBYTES_MAX)
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

/// A partition that is read now.
pub(super) struct Attached {
    pub(super) queue: Queue,
    /// The offset of the first record that will be read.
    pub(super) offset: i64,
    /// Whether that is the hint and not the topic's end.
    pub(super) hinted: bool,
}

/// Begins to read a partition: at the hint when there is such an offset, at the end otherwise.
pub(super) fn attach(
    consumer: &Arc<Consumer>,
    topic: &str,
    partition: Partition,
    hint: Option<i64>,
    arrival: Arc<Notify>,
) -> KafkaResult<Attached> {
    let number = partition.as_i32();
    let (low, high) = consumer.fetch_watermarks(topic, number, BROKER_TIMEOUT)?;
    let hint = hint.filter(|hint| (low..=high).contains(hint));
    let offset = hint.unwrap_or(high);
    // Before the assignment: a record that came earlier would stay in the consumer's own queue.
    let mut queue = consumer
        .split_partition_queue(topic, number)
        .ok_or_else(|| KafkaError::Subscription(format!("{topic} [{partition}]")))?;
    queue.set_nonempty_callback(move || arrival.notify_one());
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, number, Offset::Offset(offset))?;
    consumer.incremental_assign(&assignment)?;
    Ok(Attached {
        queue,
        offset,
        hinted: hint.is_some(),
    })
}

/// Ends reading a partition.
pub(super) fn detach(consumer: &Consumer, topic: &str, partition: Partition) {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition(topic, partition.as_i32());
    if let Err(error) = consumer.incremental_unassign(&assignment) {
        tracing::debug!(partition = partition.0, error = %error, "it was not assigned");
    }
}

/// The offset after the last record of a partition.
pub(super) fn end_of(consumer: &Consumer, topic: &str, partition: Partition) -> KafkaResult<i64> {
    let (_, high) = consumer.fetch_watermarks(topic, partition.as_i32(), BROKER_TIMEOUT)?;
    Ok(high)
}

/// The offset after the last one of a partition that was given, or passed because it is none to
/// give; 0 when there was none yet.
pub(super) fn passed(consumer: &Consumer, topic: &str, partition: Partition) -> KafkaResult<i64> {
    let positions = consumer.position()?;
    let position = positions.find_partition(topic, partition.as_i32());
    Ok(match position.map(|position| position.offset()) {
        Some(Offset::Offset(offset)) => offset,
        _ => 0,
    })
}

/// Tells the group how far each partition was applied; the answer is not waited for.
pub(super) fn commit(
    consumer: &Consumer,
    topic: &str,
    offsets: &[(Partition, i64)],
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition.as_i32(), Offset::Offset(*offset))?;
    }
    consumer.commit(&list, CommitMode::Async)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
    use rdkafka::statistics::Statistics;
    use testkit::{TestTopic, eventually};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What one fetch may bring of a partition, `fetch.message.max.bytes`: it may pass the bound.
    const FETCH_BYTES: i64 = 1 << 20;

    /// Keeps what librdkafka last said of itself.
    #[derive(Default)]
    struct Told(Mutex<Option<Statistics>>);

    impl ClientContext for Told {
        fn stats(&self, statistics: Statistics) {
            *self.0.lock().unwrap() = Some(statistics);
        }
    }

    impl ConsumerContext for Told {}

    fn fill(topic: &TestTopic, partition: i32, count: usize, bytes: usize) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", topic.brokers());
        let producer: FutureProducer = config.create().unwrap();
        let payload = "x".repeat(bytes);
        for _ in 0..count {
            let record = FutureRecord::<(), _>::to(topic.name()).payload(&payload);
            let sent = producer.send_result(record.partition(partition));
            drop(sent.map_err(|(error, _)| error).unwrap());
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Records and bytes that wait in the client when it fetches no more.
    async fn waiting(consumer: &BaseConsumer<Told>, topic: &str, partition: i32) -> (i64, i64) {
        let before = Mutex::new((0, 0));
        eventually(PATIENCE, || {
            drop(consumer.poll(Duration::ZERO));
            let told = consumer.context().0.lock().unwrap().take();
            let now = told.and_then(|told| {
                let told = told.topics.get(topic)?.partitions.get(&partition)?.clone();
                Some((told.fetchq_cnt, i64::try_from(told.fetchq_size).ok()?))
            });
            let mut before = before.lock().unwrap();
            let then = now.map_or(*before, |now| std::mem::replace(&mut before, now));
            let settled = now.filter(|now| now.0 > 0 && *now == then).ok_or(now);
            async move { settled }
        })
        .await
    }

    #[tokio::test]
    async fn behind_2000_records_or_4_mib_of_a_partition_no_more_is_fetched() {
        let topic = TestTopic::create().await;
        fill(&topic, 0, 8_000, 1 << 10);
        fill(&topic, 1, 800, 20 << 10);
        let mut config = config(topic.brokers());
        config.set("statistics.interval.ms", "300");
        let consumer: BaseConsumer<Told> = config.create_with_context(Told::default()).unwrap();
        let consumer = Arc::new(consumer);
        let mut assignment = TopicPartitionList::new();
        let mut queues = Vec::new();
        for partition in [0, 1] {
            queues.push(consumer.split_partition_queue(topic.name(), partition));
            let start = Offset::Beginning;
            assignment
                .add_partition_offset(topic.name(), partition, start)
                .unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (small, _) = waiting(&consumer, topic.name(), 0).await;
        let (_, bytes) = waiting(&consumer, topic.name(), 1).await;
        let fetched = FETCH_BYTES >> 10;
        assert!((2_000..=2_000 + fetched).contains(&small), "{small} wait");
        let max = 4 << 20;
        assert!((max..=max + FETCH_BYTES).contains(&bytes), "{bytes} bytes");
    }
}
