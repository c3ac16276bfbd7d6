//! A Kafka broker of this run's own, or one that is given, and a fresh topic there.

use std::time::Duration;

use anyhow::bail;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use testkit::Scripted;

const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Broker {
    /// Our own.
    _own: Option<Scripted>,
    pub(super) brokers: String,
    pub(super) topic: String,
}

impl Broker {
    /// Starts one when none is given, and makes the topic with the settings that Runnel's needs.
    pub(super) async fn start(given: Option<&str>, partitions: u16) -> anyhow::Result<Self> {
        let topic = format!("runnel.bench.{}", uuid::Uuid::new_v4().simple());
        let own = match given {
            Some(_) => None,
            None => Some(Scripted::start_apart("kafka")?),
        };
        let brokers = given.or(own.as_ref().map(Scripted::address));
        let broker = Self {
            brokers: brokers.unwrap_or_default().to_owned(),
            topic,
            _own: own,
        };
        broker.make_topic(partitions).await?;
        Ok(broker)
    }

    async fn make_topic(&self, partitions: u16) -> anyhow::Result<()> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let admin: AdminClient<DefaultClientContext> = config.create()?;
        let replication = TopicReplication::Fixed(1);
        let topic = NewTopic::new(&self.topic, i32::from(partitions), replication)
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("unclean.leader.election.enable", "false")
            .set("max.message.bytes", "1048576");
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT));
        for made in admin.create_topics([&topic], &options).await? {
            if let Err((topic, code)) = made {
                bail!("topic {topic} was not made: {code}");
            }
        }
        Ok(())
    }
}
