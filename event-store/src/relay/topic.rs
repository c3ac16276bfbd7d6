//! The topic's own settings: how it is made, and what deviates. A record that Kafka deletes, or
//! that a broker without the others' records brings back, would be a hole to every reader.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{self, KafkaLog, RECORD_BYTES_MAX};
use super::settings::Target;

/// How long the brokers may take for an answer.
const ASK_MAX: Duration = Duration::from_secs(10);

/// Settings that must be exactly so.
const EXACT: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("unclean.leader.election.enable", "false"),
];

const RECORD_BYTES: &str = "max.message.bytes";
const MIN_ISR: &str = "min.insync.replicas";

/// How many copies of each record there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Replicas of a partition.
    pub replication_factor: u16,
    /// Replicas that must have a record before it is acknowledged.
    pub min_insync: u16,
}

impl Durability {
    /// The least that a loss of one broker leaves whole.
    pub const THREE: Self = Self {
        replication_factor: 3,
        min_insync: 2,
    };

    /// One copy: for development.
    pub const ONE: Self = Self {
        replication_factor: 1,
        min_insync: 1,
    };

    /// So many replicas; two of three or more must have a record.
    #[must_use]
    pub fn of(replication_factor: u16) -> Self {
        let min_insync = if replication_factor >= 3 { 2 } else { 1 };
        Self {
            replication_factor,
            min_insync,
        }
    }
}

/// Why the topic could not be made or looked at.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The brokers did not answer, or refused.
    #[error("Kafka did not do what it was asked")]
    Kafka(#[from] KafkaError),
    /// The brokers refused to make or describe the topic.
    #[error("Kafka refused: {0}")]
    Refused(RDKafkaErrorCode),
    /// There is no such topic.
    #[error("the topic does not exist")]
    Missing,
    /// The blocking call was lost.
    #[error("asking Kafka ended without an answer")]
    Lost,
}

/// What the brokers say of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    partitions: usize,
    /// Of the partition that has the fewest.
    replicas_min: usize,
}

/// How many brokers there are.
///
/// # Errors
/// [`TopicError`].
pub async fn broker_count(target: &Target) -> Result<usize, TopicError> {
    with_admin(target, |admin, _| {
        let metadata = admin.inner().fetch_metadata(None, ASK_MAX)?;
        Ok(metadata.brokers().len())
    })
    .await
}

/// Makes the topic with `partitions` partitions; false when it is there already, whatever its
/// settings: [`deviations`] tells.
///
/// # Errors
/// [`TopicError`].
pub async fn create(
    target: &Target,
    partitions: u16,
    durability: Durability,
) -> Result<bool, TopicError> {
    let replication = TopicReplication::Fixed(i32::from(durability.replication_factor));
    let min_insync = durability.min_insync.to_string();
    let mut topic = NewTopic::new(&target.topic, i32::from(partitions), replication)
        .set(RECORD_BYTES, RECORD_BYTES_MAX)
        .set(MIN_ISR, &min_insync);
    for (name, value) in EXACT {
        topic = topic.set(name, value);
    }
    let made = admin(target)?.create_topics([&topic], &options()).await?;
    match made.into_iter().next() {
        Some(Ok(_)) => Ok(true),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(TopicError::Refused(code)),
        None => Err(TopicError::Lost),
    }
}

/// Everything about the topic that is not as it must be, in words.
///
/// # Errors
/// [`TopicError`]; [`TopicError::Missing`] when there is no topic.
pub async fn deviations(
    target: &Target,
    partitions: usize,
    durability: Durability,
) -> Result<Vec<String>, TopicError> {
    let layout = with_admin(target, layout).await?;
    let mut found = layout.deviations(partitions, durability);
    let topic = ResourceSpecifier::Topic(&target.topic);
    let described = admin(target)?
        .describe_configs([&topic], &options())
        .await?;
    let described = described.into_iter().next().ok_or(TopicError::Lost)?;
    let described = described.map_err(refusal)?;
    found.extend(of_settings(&described.entries, durability));
    Ok(found)
}

/// What is wrong with the topic, and what to do, in one sentence; nothing when all is well. Copies
/// are not judged: how many there should be is known to `projector topics check`.
pub(super) async fn complaint(target: &Target, partitions: usize) -> Option<String> {
    let topic = &target.topic;
    match deviations(target, partitions, Durability::ONE).await {
        Ok(found) if found.is_empty() => None,
        Ok(found) => Some(format!(
            "the topic {topic} is not as it must be ({}); see `projector topics check`",
            found.join("; ")
        )),
        Err(TopicError::Missing) => Some(format!(
            "there is no topic {topic}; make it with `projector topics create`"
        )),
        Err(error) => Some(format!(
            "the topic {topic} cannot be checked: {}",
            super::step::chain(&error)
        )),
    }
}

impl Layout {
    fn deviations(&self, partitions: usize, durability: Durability) -> Vec<String> {
        let mut found = Vec::new();
        if self.partitions != partitions {
            found.push(format!(
                "it has {} partitions, the event store has {partitions}",
                self.partitions
            ));
        }
        if self.replicas_min < usize::from(durability.replication_factor) {
            found.push(format!(
                "replication factor is {}, not {}",
                self.replicas_min, durability.replication_factor
            ));
        }
        found
    }
}

fn layout(admin: &AdminClient<KafkaLog>, topic: &str) -> Result<Layout, TopicError> {
    let metadata = admin.inner().fetch_metadata(Some(topic), ASK_MAX)?;
    let described = metadata.topics().first().ok_or(TopicError::Missing)?;
    if let Some(error) = described.error() {
        return Err(refusal(error.into()));
    }
    let partitions = described.partitions();
    let replicas = partitions
        .iter()
        .map(|partition| partition.replicas().len());
    Ok(Layout {
        partitions: partitions.len(),
        replicas_min: replicas.min().unwrap_or(0),
    })
}

fn refusal(code: RDKafkaErrorCode) -> TopicError {
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
            TopicError::Missing
        }
        code => TopicError::Refused(code),
    }
}

fn of_settings(entries: &[ConfigEntry], durability: Durability) -> Vec<String> {
    let value = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name);
        entry
            .and_then(|entry| entry.value.as_deref())
            .unwrap_or("not told")
    };
    let mut found = Vec::new();
    for (name, wanted) in EXACT {
        if value(name) != wanted {
            found.push(format!("{name} is {}, not {wanted}", value(name)));
        }
    }
    let at_least = [
        (RECORD_BYTES, RECORD_BYTES_MAX.to_owned()),
        (MIN_ISR, durability.min_insync.to_string()),
    ];
    for (name, wanted) in at_least {
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        if number(value(name)) < number(&wanted) {
            found.push(format!("{name} is {}, less than {wanted}", value(name)));
        }
    }
    found
}

/// Asking for metadata blocks, so it has a thread.
async fn with_admin<T: Send + 'static>(
    target: &Target,
    ask: impl FnOnce(&AdminClient<KafkaLog>, &str) -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    let (admin, topic) = (admin(target)?, target.topic.clone());
    let asked = client::on_a_thread(move |answer| drop(answer.send(ask(&admin, &topic))));
    asked.await.unwrap_or(Err(TopicError::Lost))
}

fn admin(target: &Target) -> Result<AdminClient<KafkaLog>, KafkaError> {
    client::config(target).create_with_context(KafkaLog)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ASK_MAX))
        .operation_timeout(Some(ASK_MAX))
}

#[cfg(test)]
mod tests {
    use rdkafka::admin::ConfigSource;

    use super::*;

    fn entry(name: &str, value: &str) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source: ConfigSource::DynamicTopic,
            is_read_only: false,
            is_default: false,
            is_sensitive: false,
        }
    }

    fn right() -> Vec<ConfigEntry> {
        let exact = EXACT.iter().map(|(name, value)| entry(name, value));
        let least = [entry(RECORD_BYTES, RECORD_BYTES_MAX), entry(MIN_ISR, "2")];
        exact.chain(least).collect()
    }

    #[test]
    fn every_setting_that_deviates_is_named() {
        assert_eq!(of_settings(&right(), Durability::THREE), [""; 0]);
        for (index, entry) in right().into_iter().enumerate() {
            let mut wrong = right();
            wrong[index].value = Some("1".to_owned());
            let found = of_settings(&wrong, Durability::THREE);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(&entry.name), "{found:?}");
        }
    }

    #[test]
    fn the_number_of_partitions_is_the_stores() {
        let layout = Layout {
            partitions: 8,
            replicas_min: 1,
        };
        assert_eq!(layout.deviations(16, Durability::THREE).len(), 2);
        assert_eq!(layout.deviations(8, Durability::ONE).len(), 0);
    }
}
