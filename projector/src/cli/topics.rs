//! `projector topics`: the topic of the events, made and checked by an explicit step. No process
//! makes it by itself, because a topic with other settings loses events.

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
    check(&target, partitions, durability).await
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

/// Says all that is not as it must be. A topic that has just been made may not be known to the
/// broker that is asked: then it is missing, and the next try finds it.
async fn check(target: &Target, partitions: u16, durability: Durability) -> anyhow::Result<()> {
    let topic = &target.topic;
    let found = match topic::deviations(target, partitions.into(), durability).await {
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
