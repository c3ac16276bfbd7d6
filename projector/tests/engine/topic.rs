//! Writes the topic as a relay would, and in every way in which one must not.

use std::time::Duration;

use events::{Partition, RecordedEvent, record};
use projector::engine::kafka::GROUP_ID;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use testkit::TestTopic;
use uuid::Uuid;

use crate::stage::Stage;

/// The producer of a test's topic.
pub(crate) struct Topic {
    pub(crate) topic: TestTopic,
    producer: FutureProducer,
    store_id: Uuid,
}

impl Topic {
    pub(crate) async fn new(stage: &Stage) -> Self {
        Self::on(stage, TestTopic::create().await)
    }

    pub(crate) fn on(stage: &Stage, topic: TestTopic) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", topic.brokers());
        Self {
            producer: config.create().unwrap(),
            store_id: stage.store.store_id(),
            topic,
        }
    }

    /// The records of all events at `after + 1 ..= upto`.
    pub(crate) async fn relay(&self, stage: &Stage, partition: u16, after: i64, upto: i64) {
        let events = events_of(stage, partition, after, upto).await;
        self.send(&events.iter().collect::<Vec<_>>(), 1).await;
    }

    /// Every event that is not in the topic yet.
    pub(crate) async fn relay_all(&self, stage: &Stage, relayed: &mut [i64; 4]) {
        for (partition, relayed) in relayed.iter_mut().enumerate() {
            let partition = u16::try_from(partition).unwrap();
            let head = head_of(stage, partition).await;
            self.relay(stage, partition, *relayed, head).await;
            *relayed = head;
        }
    }

    /// Records of these events, in this order.
    pub(crate) async fn send(&self, events: &[&RecordedEvent], incarnation: i32) {
        let mut sent = Vec::new();
        for event in events {
            let headers = record::headers(self.store_id, incarnation, event);
            let partition = event.address.partition;
            sent.push(self.send_as(partition, &headers, event));
        }
        for one in sent {
            one.await.unwrap().unwrap();
        }
    }

    /// A record with these headers.
    pub(crate) fn send_as(
        &self,
        partition: Partition,
        headers: &[(&'static str, String)],
        event: &RecordedEvent,
    ) -> rdkafka::producer::DeliveryFuture {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            let value = Some(value.as_str());
            owned = owned.insert(Header { key, value });
        }
        let key = record::key(event);
        let record = FutureRecord::to(self.topic.name())
            .partition(partition.as_i32())
            .key(&key)
            .payload(event.payload.get())
            .headers(owned);
        self.producer
            .send_result(record)
            .map_err(|(error, _)| error)
            .unwrap()
    }

    /// What the projections' group has committed.
    pub(crate) fn committed(&self, partition: Partition) -> Option<i64> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.topic.brokers())
            .set("group.id", GROUP_ID);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(self.topic.name(), partition.as_i32());
        let list = consumer.committed_offsets(list, Duration::from_secs(10));
        match list.unwrap().elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    pub(crate) fn store_id(&self) -> Uuid {
        self.store_id
    }
}

/// The store's events at `after + 1 ..= upto`.
pub(crate) async fn events_of(
    stage: &Stage,
    partition: u16,
    after: i64,
    upto: i64,
) -> Vec<RecordedEvent> {
    let reader = stage.store.partition_reader();
    reader
        .read_range(Partition(partition), after, upto)
        .await
        .unwrap()
}

pub(crate) async fn head_of(stage: &Stage, partition: u16) -> i64 {
    let reader = stage.store.partition_reader();
    reader.head(Partition(partition)).await.unwrap().position
}

/// Longer than a read may wait for Kafka in these tests.
pub(crate) const LONG_SILENCE: Duration = Duration::from_secs(60);
