//! A Kafka topic of its own for each test, with the settings that Runnel's topic must have.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};

use crate::database::TEST_PARTITIONS;
use crate::servers::kafka_brokers;

/// How long the broker may take for an order.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The limit on a record that Runnel's topic must have.
pub const RECORD_BYTES_MAX: &str = "1048576";

/// A topic with as many partitions as the stores of tests have. It is not deleted at the end: the
/// broker's folder is removed with the test servers, and an empty topic costs next to nothing.
#[derive(Clone, Debug)]
pub struct TestTopic {
    brokers: String,
    name: String,
}

impl TestTopic {
    /// Makes a topic on the test Kafka.
    ///
    /// # Panics
    /// When the broker does not make it: the test cannot run.
    pub async fn create() -> Self {
        let topic = Self::named(&kafka_brokers());
        topic.make().await;
        topic
    }

    /// A fresh name on these brokers; nothing is made yet.
    #[must_use]
    pub fn named(brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            name: format!("runnel.test.{}", uuid::Uuid::new_v4().simple()),
        }
    }

    /// Makes the topic, such as again after [`TestTopic::delete`].
    ///
    /// # Panics
    /// When the broker does not make it.
    pub async fn make(&self) {
        self.make_with(RECORD_BYTES_MAX).await;
    }

    /// Makes the topic with another limit on its records.
    ///
    /// # Panics
    /// When the broker does not make it.
    pub async fn make_with(&self, record_bytes_max: &str) {
        let replication = TopicReplication::Fixed(1);
        let topic = NewTopic::new(&self.name, i32::from(TEST_PARTITIONS), replication)
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("unclean.leader.election.enable", "false")
            .set("max.message.bytes", record_bytes_max)
            .set("segment.bytes", "1048576");
        let made = self.admin().create_topics([&topic], &options()).await;
        let made = made.expect("the test Kafka answers");
        made[0].as_ref().expect("the topic is made");
    }

    /// Deletes the topic with all of its records.
    ///
    /// # Panics
    /// When the broker does not delete it.
    pub async fn delete(&self) {
        let deleted = self.admin().delete_topics(&[&self.name], &options()).await;
        let deleted = deleted.expect("the test Kafka answers");
        deleted[0].as_ref().expect("the topic is deleted");
    }

    /// Sets the limit on its records.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn limit_records(&self, record_bytes_max: &str) {
        let limit = AlterConfig::new(ResourceSpecifier::Topic(&self.name))
            .set("max.message.bytes", record_bytes_max)
            .set("retention.ms", "-1");
        let altered = self.admin().alter_configs([&limit], &options()).await;
        let altered = altered.expect("the test Kafka answers");
        altered[0].as_ref().expect("the topic is altered");
    }

    /// Cuts off every record of a partition, as expiry does.
    ///
    /// # Panics
    /// When the broker does not.
    pub async fn expire(&self, partition: u16) {
        let mut offsets = TopicPartitionList::new();
        let end = offsets.add_partition_offset(&self.name, partition.into(), Offset::End);
        end.expect("an offset");
        let deleted = self.admin().delete_records(&offsets, &options()).await;
        deleted.expect("the records are deleted");
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.create().expect("an admin client")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT))
}
