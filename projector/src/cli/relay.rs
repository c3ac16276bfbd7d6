//! `projector relay`: how far Kafka is, and asking the relay to send again what the topic lacks.

use std::time::Duration;

use anyhow::bail;
use event_store::relay::standing::{self, Standing};
use platform::config::KafkaArgs;

use super::connect::ConnectArgs;
use super::kafka;
use super::output::{Output, say, say_json, table, text};

/// How long `refill` waits for the processes that hold the leases.
const REFILL_WAIT: Duration = Duration::from_secs(30);

/// What to do with the relay.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RelayVerb {
    /// Show how far each partition is relayed: who does it, the lower bound, the store's head, and
    /// the topic's ends
    Status(StatusArgs),
    /// Ask for the topic to be compared with the store, and for what it lacks to be sent again
    ///
    /// The process that relays a partition reads the end of the topic back, compares it with the
    /// store and goes on after the last record that agrees. A partition that holds no records any
    /// more, or not its first ones, is filled again from position 1, whatever the reason; without
    /// this request that is taken for records that have expired. Where its first ones are missing
    /// the rest is deleted first, so that readers find every event in order. A topic that was
    /// deleted and made again is noticed and filled without being asked. Nothing is changed in the
    /// event store.
    Refill(RefillArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// For whom
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RefillArgs {
    /// Only this partition
    #[arg(long)]
    partition: Option<u16>,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn relay(verb: RelayVerb) -> anyhow::Result<()> {
    match verb {
        RelayVerb::Status(args) => status(args).await,
        RelayVerb::Refill(args) => refill(args).await,
    }
}

async fn status(args: StatusArgs) -> anyhow::Result<()> {
    let target = kafka::target(&args.kafka);
    let brokers = target.as_ref().map(|target| target.brokers.clone());
    let pool = args.connect.connect()?;
    let standings = standing::read(&pool, target).await?;
    let Output::Table = args.output else {
        return say_json(&standings);
    };
    say(shown(&standings))?;
    match brokers {
        None => say("KAFKA_BROKERS is not set: nothing is known of the topic"),
        Some(brokers) if standings.iter().any(|one| one.kafka_end.is_none()) => say(format!(
            "Kafka ({brokers}) does not answer: nothing is known of the topic's ends; \
             `projector topics check` tells more"
        )),
        Some(_) => Ok(()),
    }
}

fn shown(standings: &[Standing]) -> String {
    let header = [
        "PARTITION",
        "OWNER",
        "EPOCH",
        "RELAYED",
        "HEAD",
        "LAG",
        "KAFKA START",
        "KAFKA END",
    ];
    let mut table = table(&header, &[0, 2, 3, 4, 5, 6, 7]);
    let offset = |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
    for one in standings {
        table.add_row([
            one.partition.to_string(),
            one.owner
                .map_or("nobody".to_owned(), |owner| owner.to_string()),
            one.epoch.to_string(),
            one.relayed_position.to_string(),
            one.head.to_string(),
            one.lag_events.to_string(),
            offset(one.kafka_start),
            offset(one.kafka_end),
        ]);
    }
    text(&table)
}

async fn refill(args: RefillArgs) -> anyhow::Result<()> {
    let partition = args.partition.map(i32::from);
    let pool = args.connect.connect()?;
    let asked = standing::ask_refill(&pool, partition).await?;
    if asked.is_empty() {
        bail!("the event store has no such partition");
    }
    let open = standing::await_refill(&pool, partition, REFILL_WAIT).await?;
    if !open.is_empty() {
        bail!(
            "nobody has taken the request up for the partitions {open:?} yet; it stands, and \
             `projector relay status` shows who relays"
        );
    }
    say(format!(
        "{} partitions were compared, and what the topic lacks is being sent; `projector relay \
         status` shows how far it is",
        asked.len()
    ))
}
