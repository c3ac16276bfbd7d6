//! How librdkafka's clients are made: their settings, and where their log goes.
//!
//! There is one producer a partition. librdkafka sends each partition's batches in requests of
//! their own anyway, so a shared producer would save no request; it would make sixteen partitions
//! share five requests in flight, and with `enable.gapless.guarantee` one record that cannot be
//! delivered is fatal to its producer, so each attempt at it would interrupt every partition. The
//! price is three or four sleeping threads and a connection to each broker for each partition that
//! a process holds, a bounded number: partitions do not grow.
//!
//! A producer has no thread that polls it: rdkafka's own spins through the last millisecond of each
//! tenth of a second, 14 % of a core for sixteen of them. Its stream polls it.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use tokio::sync::oneshot;

use super::settings::{RelaySettings, Target};

/// The longest record and request: the topic's own limit.
pub(super) const RECORD_BYTES_MAX: &str = "1048576";

/// Bytes that wait in one producer; a full queue makes its partition wait for acknowledgements.
const QUEUE_KBYTES_MAX: &str = "65536";

/// What waits in one reader; most looks take one record or two.
const READ_RECORDS_MAX: &str = "1000";
const READ_KBYTES_MAX: &str = "1024";

/// A producer for one partition.
pub(super) type Producer = BaseProducer<KafkaLog>;

/// What became of a record: its offset.
pub(super) type Delivered = KafkaResult<i64>;

/// A consumer that reads what a topic holds.
pub(super) type Reader = BaseConsumer<KafkaLog>;

/// Sends librdkafka's log lines through tracing, so that nothing is written past the log's format.
/// What its lines call errors are states that its caller is told of, too, and handles; a broker
/// that is down says so with every attempt of every client, and the relay once a partition.
#[derive(Clone, Debug)]
pub(super) struct KafkaLog;

impl ClientContext for KafkaLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", error = %error, "{reason}");
    }
}

impl ConsumerContext for KafkaLog {}

impl ProducerContext for KafkaLog {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let delivered = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody listens when the stream was closed meanwhile.
        told.send(delivered).ok();
    }
}

/// What every client is told. Requests are small and do not wait for each other's packets to be
/// acknowledged, as TCP by itself would have it, for 40 ms and more.
pub(super) fn config(target: &Target) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &target.brokers)
        .set("client.id", "runnel-relay")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.nagle.disable", "true")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// A fresh producer. A careful one sends each record in a request of its own, so that the broker's
/// refusal names one record.
pub(super) fn producer(
    target: &Target,
    settings: &RelaySettings,
    careful: bool,
) -> KafkaResult<Producer> {
    let mut config = config(target);
    let queued_max = settings.in_flight_max.saturating_mul(2).to_string();
    config
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("message.timeout.ms", "0")
        .set("message.max.bytes", RECORD_BYTES_MAX)
        .set("queue.buffering.max.messages", queued_max)
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX)
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("compression.type", "lz4")
        .set("linger.ms", "1");
    if careful {
        config.set("batch.num.messages", "1");
    }
    config.create_with_context(KafkaLog)
}

/// A fresh consumer. It is assigned by hand and commits nothing; librdkafka wants a group's name
/// all the same. It sees the log as it is: our records are in no transaction, and the log's end is
/// where the next one will be, whatever transaction of others is open. A question about other
/// offsets waits until the broker gives up waiting for more at these.
pub(super) fn reader(target: &Target) -> KafkaResult<Reader> {
    let mut config = config(target);
    config
        .set("group.id", "runnel-relay")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_uncommitted")
        .set("queued.min.messages", READ_RECORDS_MAX)
        .set("queued.max.messages.kbytes", READ_KBYTES_MAX)
        .set("fetch.wait.max.ms", "5")
        .create_with_context(KafkaLog)
}

/// Runs what blocks on a thread of its own and waits for its answer; nothing when there is none. A
/// runtime waits at its end for the blocking tasks that it knows, and some of librdkafka's calls
/// take seconds without a broker: these threads end with the process.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce(oneshot::Sender<T>) + Send + 'static,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("relay-kafka".to_owned());
    thread.spawn(move || work(answer)).ok()?;
    answered.await.ok()
}
