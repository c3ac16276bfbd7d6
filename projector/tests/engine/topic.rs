//! The topic of a test's store, and how much of the store is in it.

use std::time::Duration;

use events::{Partition, RecordedEvent};
use projector::engine::kafka::GROUP_ID;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use testkit::{TestTopic, TopicWriter};
use uuid::Uuid;

use crate::stage::Stage;

/// The producer of a test's topic.
pub(crate) struct Topic {
    pub(crate) topic: TestTopic,
    pub(crate) writer: TopicWriter,
    store_id: Uuid,
}

impl Topic {
    pub(crate) async fn new(stage: &Stage) -> Self {
        Self::on(stage, TestTopic::create().await)
    }

    pub(crate) fn on(stage: &Stage, topic: TestTopic) -> Self {
        let store_id = stage.store.store_id();
        Self {
            writer: TopicWriter::new(&topic, store_id),
            store_id,
            topic,
        }
    }

    /// The records of all events at `after + 1 ..= upto`, of the store's newest incarnation.
    pub(crate) async fn relay(&self, stage: &Stage, partition: u16, after: i64, upto: i64) {
        let events = events_of(stage, partition, after, upto).await;
        let events: Vec<_> = events.iter().collect();
        let log = event_store::incarnation::load_log(&stage.pool).await;
        self.writer.send(&events, log.unwrap().current()).await;
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
