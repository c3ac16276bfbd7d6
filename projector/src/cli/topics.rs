//! `projector topics`: the topic of the events, made and checked by an explicit step. No process
//! makes it by itself, because a topic with other settings loses events.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use event_store::EventStore;
use event_store::relay::Target;
use event_store::relay::topic::{self, Durability, TopicError};
use platform::config::KafkaArgs;

use super::connect::ConnectArgs;
use super::kafka;
use super::output::say;

/// Brokers that are enough for three copies.
const BROKERS_ENOUGH: usize = 3;

/// How long a broker may take to hear of a topic that was made, and how often it is asked.
const NEWS_MAX: Duration = Duration::from_secs(5);
const NEWS_INTERVAL: Duration = Duration::from_millis(200);

/// What to do with the topic.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TopicsVerb {
    /// Make the topic, with as many partitions as the event store; one that is there already is
    /// checked
    Create(TopicArgs),
    /// Name everything about the topic that is not as it must be; exit code 1 when there is any
    Check(TopicArgs),
}

/// Which topic, and how many copies of it.
#[derive(Debug, clap::Args)]
pub(super) struct TopicArgs {
    /// Copies of each record; default: 3 in production and wherever there are three brokers, else 1
    #[arg(long)]
    replication_factor: Option<u16>,
    /// `development` or `production`; production wants three copies
    #[arg(long, env = "RUNNEL_ENV", default_value = "development",
        value_parser = ["development", "production"])]
    runnel_env: String,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn topics(verb: TopicsVerb) -> anyhow::Result<()> {
    let (args, create) = match verb {
        TopicsVerb::Create(args) => (args, true),
        TopicsVerb::Check(args) => (args, false),
    };
    let target = kafka::needed(&args.kafka)?;
    let durability = durability(&args, &target).await?;
    let pool = args.connect.connect()?;
    let store = EventStore::open(pool).await;
    let partitions = store
        .context("the event store cannot be opened")?
        .partitions()
        .get();
    if create && topic::create(&target, partitions, durability).await? {
        say(format!(
            "made the topic {} with {partitions} partitions, {} copies of each record",
            target.topic, durability.replication_factor
        ))?;
    }
    let patience = if create { NEWS_MAX } else { Duration::ZERO };
    check(&target, partitions, durability, patience).await
}

async fn durability(args: &TopicArgs, target: &Target) -> anyhow::Result<Durability> {
    if let Some(factor) = args.replication_factor {
        return Ok(Durability::of(factor.max(1)));
    }
    if args.runnel_env == "production" {
        return Ok(Durability::THREE);
    }
    let brokers = topic::broker_count(target).await;
    let brokers = brokers.with_context(|| format!("no broker at {} answers", target.brokers))?;
    Ok(if brokers >= BROKERS_ENOUGH {
        Durability::THREE
    } else {
        Durability::ONE
    })
}

/// Says all that is not as it must be.
async fn check(
    target: &Target,
    partitions: u16,
    durability: Durability,
    patience: Duration,
) -> anyhow::Result<()> {
    let topic = &target.topic;
    let ask = async || topic::deviations(target, partitions.into(), durability).await;
    let found = match known_within(patience, ask).await {
        Err(TopicError::Missing) => {
            bail!("there is no topic {topic}; make it with `projector topics create`")
        }
        found => found?,
    };
    if found.is_empty() {
        return say(format!("the topic {topic} is as it must be"));
    }
    for deviation in &found {
        say(format!("{topic}: {deviation}"))?;
    }
    bail!(
        "{} settings of the topic {topic} are not as they must be",
        found.len()
    )
}

/// Asks again while the topic is missing: one that has just been made may not be known yet to the
/// broker that is asked.
async fn known_within<T>(
    patience: Duration,
    ask: impl AsyncFn() -> Result<T, TopicError>,
) -> Result<T, TopicError> {
    let until = Instant::now() + patience;
    loop {
        match ask().await {
            Err(TopicError::Missing) if Instant::now() < until => {
                tokio::time::sleep(NEWS_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The answer to a topic that is known from the question of this number on, and how often it
    /// was asked for.
    async fn known_from(known_at: usize, patience: Duration) -> (Result<(), TopicError>, usize) {
        let asked = AtomicUsize::new(0);
        let ask = async || {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            (number >= known_at)
                .then_some(())
                .ok_or(TopicError::Missing)
        };
        let answer = known_within(patience, ask).await;
        (answer, asked.into_inner())
    }

    #[tokio::test]
    async fn a_topic_that_was_just_made_is_asked_for_again() {
        let (answer, asked) = known_from(4, NEWS_MAX).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(asked, 4);
    }

    #[tokio::test]
    async fn one_that_stays_missing_is_missing() {
        let begun = Instant::now();
        let patience = NEWS_INTERVAL * 2;
        let (answer, _) = known_from(usize::MAX, patience).await;
        assert!(matches!(answer, Err(TopicError::Missing)), "{answer:?}");
        assert!(begun.elapsed() >= patience);
        let (_, asked) = known_from(usize::MAX, Duration::ZERO).await;
        assert_eq!(asked, 1, "`topics check` asks once");
    }
}
