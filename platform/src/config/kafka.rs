//! Where Kafka is, for the relay and for the projector.

use super::Problems;

/// The longest name that Kafka takes for a topic.
const TOPIC_LENGTH_MAX: usize = 249;

/// The Kafka settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// Kafka's brokers, host:port with commas between; unset = no relay, and projections read from
    /// the event store
    #[arg(long, env = "KAFKA_BROKERS")]
    pub kafka_brokers: Option<String>,
    /// The topic of the events; it has as many partitions as the event store
    #[arg(long, env = "KAFKA_TOPIC", default_value = "runnel.events.v1")]
    pub kafka_topic: String,
}

/// Validated [`KafkaArgs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, with commas between.
    pub brokers: String,
    /// The topic.
    pub topic: String,
}

impl KafkaArgs {
    /// Parses and checks the group; none when there are no brokers.
    pub fn validate(&self, problems: &mut Problems) -> Option<KafkaSettings> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let topic = &self.kafka_topic;
        problems.require(
            (1..=TOPIC_LENGTH_MAX).contains(&topic.len()) && topic.bytes().all(plain),
            "KAFKA_TOPIC",
            "must be 1 to 249 letters, digits, `.`, `_` or `-`",
        );
        let brokers = self.kafka_brokers.as_deref().unwrap_or_default().trim();
        if brokers.is_empty() {
            return None;
        }
        for broker in brokers.split(',') {
            let port = broker.trim().rsplit_once(':').map(|(_, port)| port);
            problems.require(
                port.is_some_and(|port| port.parse::<u16>().is_ok()),
                "KAFKA_BROKERS",
                "must be host:port, several with commas between",
            );
        }
        Some(KafkaSettings {
            brokers: brokers.to_owned(),
            topic: topic.clone(),
        })
    }
}
