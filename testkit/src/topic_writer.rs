//! Writes a topic as a relay would, and in every way in which one must not.

use events::{Partition, RecordedEvent, record};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use uuid::Uuid;

use crate::topic::TestTopic;

/// The producer of one store's records.
pub struct TopicWriter {
    topic: String,
    producer: FutureProducer,
    store_id: Uuid,
}

impl TopicWriter {
    /// Writes events of the store `store_id` into `topic`.
    ///
    /// # Panics
    /// When there is no client to be had.
    #[must_use]
    pub fn new(topic: &TestTopic, store_id: Uuid) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", topic.brokers());
        Self {
            topic: topic.name().to_owned(),
            producer: config.create().expect("a producer"),
            store_id,
        }
    }

    /// Writes a record for each event, in this order, and waits for the acknowledgements.
    ///
    /// # Panics
    /// When the broker does not take one.
    pub async fn send(&self, events: &[&RecordedEvent], incarnation: i32) {
        let mut sent = Vec::new();
        for event in events {
            let headers = record::headers(self.store_id, incarnation, event);
            sent.push(self.send_as(event.address.partition, &headers, event));
        }
        for one in sent {
            let acknowledged = one.await.expect("the producer lives");
            acknowledged.expect("the broker takes a record");
        }
    }

    /// Writes one record with these headers, whatever they say.
    ///
    /// # Panics
    /// When the client's queue is full.
    pub fn send_as(
        &self,
        partition: Partition,
        headers: &[(&'static str, String)],
        event: &RecordedEvent,
    ) -> DeliveryFuture {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            let value = Some(value.as_str());
            owned = owned.insert(Header { key, value });
        }
        let key = record::key(event);
        let record = FutureRecord::to(&self.topic)
            .partition(partition.as_i32())
            .key(&key)
            .payload(event.payload.get())
            .headers(owned);
        let sent = self.producer.send_result(record);
        sent.map_err(|(error, _)| error).expect("room in the queue")
    }
}
