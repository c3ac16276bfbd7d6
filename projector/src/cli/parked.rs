//! `projector parked`: events that could not be applied. A key is named by the address of any of
//! its parked events.

use std::str::FromStr;

use anyhow::bail;
use event_store::EventStore;
use events::{Address, Partition};
use read_model::projection::Projection;
use sqlx::PgPool;

use super::connect::ConnectArgs;
use super::output::{Output, say, say_json, table, text};
use super::rebuild::named;
use crate::engine::parked::{self, ParkedKey};
use crate::engine::repair::{Bench, Retried};

/// What to do with parked events.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ParkedVerb {
    /// List the parked keys, each with the event that stopped it
    List(ListArgs),
    /// Show one parked key: why, since when, and what waits behind
    Show(OneArgs),
    /// Try a key again in order, or all of them
    Retry(RetryArgs),
    /// Give up the first event of a key for good, and try the rest
    Discard(OneArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only this projection
    projection: Option<String>,
    /// For whom
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// The projection, such as user_view
    projection: String,
    /// A parked event, such as 3:1042
    address: AddressArg,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// The projection, such as user_view
    projection: String,
    /// A parked event, such as 3:1042
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    address: Option<AddressArg>,
    /// Every parked key of the projection
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// An address as it is written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AddressArg(Address);

impl FromStr for AddressArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "an address is partition:position, such as 3:1042";
        let (partition, position) = text.split_once(':').ok_or(WRONG)?;
        let partition = Partition(partition.parse().map_err(|_| WRONG)?);
        let position = position.parse().map_err(|_| WRONG)?;
        Ok(Self(Address {
            partition,
            position,
        }))
    }
}

pub(super) async fn parked(verb: ParkedVerb) -> anyhow::Result<()> {
    match verb {
        ParkedVerb::List(args) => list(args).await,
        ParkedVerb::Show(args) => show(args).await,
        ParkedVerb::Retry(args) => retry(args).await,
        ParkedVerb::Discard(args) => discard(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let pool = args.connect.connect()?;
    let keys = parked::list(&pool, args.projection.as_deref()).await?;
    if args.output == Output::Json {
        return say_json(&keys);
    }
    if keys.is_empty() {
        return say("nothing is parked");
    }
    let header = [
        "PROJECTION",
        "GENERATION",
        "ADDRESS",
        "REASON",
        "EVENT",
        "ATTEMPTS",
        "BEHIND",
        "SINCE",
    ];
    let mut table = table(&header, &[1, 5, 6]);
    for key in &keys {
        table.add_row([
            key.projection.clone(),
            key.generation.to_string(),
            key.address(),
            key.reason.clone(),
            format!("{} v{}", key.event_type, key.event_version),
            key.attempts.to_string(),
            key.behind.to_string(),
            key.parked_at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ]);
    }
    say(text(&table))
}

async fn show(args: OneArgs) -> anyhow::Result<()> {
    let pool = args.connect.connect()?;
    for key in keys_at(&pool, &args.projection, args.address.0).await? {
        say_json(&key)?;
    }
    Ok(())
}

async fn retry(args: RetryArgs) -> anyhow::Result<()> {
    let repair = Repair::begin(&args.projection, args.connect).await?;
    let keys = match args.address {
        Some(AddressArg(address)) => keys_at(&repair.pool, &args.projection, address).await?,
        None => parked::list(&repair.pool, Some(&args.projection)).await?,
    };
    let mut stuck = 0;
    for key in keys {
        let first = key.first()?;
        let retried = repair.bench(&key)?.retry(first).await?;
        stuck += tell(&key, retried)?;
    }
    finish(stuck)
}

async fn discard(args: OneArgs) -> anyhow::Result<()> {
    let repair = Repair::begin(&args.projection, args.connect).await?;
    let mut stuck = 0;
    for key in keys_at(&repair.pool, &args.projection, args.address.0).await? {
        let rest = repair.bench(&key)?.discard(args.address.0).await?;
        say(format!(
            "{} is given up in generation {}",
            args.address.0, key.generation
        ))?;
        stuck += tell(&key, rest)?;
    }
    finish(stuck)
}

/// Everything that a repair needs.
struct Repair {
    pool: PgPool,
    store: EventStore,
    projection: &'static dyn Projection,
}

impl Repair {
    async fn begin(name: &str, connect: ConnectArgs) -> anyhow::Result<Self> {
        let projection = named(name)?;
        let pool = connect.connect()?;
        let store = EventStore::open(pool.clone()).await?;
        Ok(Self {
            pool,
            store,
            projection,
        })
    }

    fn bench(&self, key: &ParkedKey) -> anyhow::Result<RepairBench<'_>> {
        let ours = self.projection.revision();
        if key.revision != ours {
            bail!(
                "generation {} has revision {}, this binary folds revision {ours}: \
                 use the binary that feeds it",
                key.generation,
                key.revision
            );
        }
        Ok(RepairBench {
            repair: self,
            reader: self.store.partition_reader(),
            generation: key.generation,
        })
    }
}

struct RepairBench<'a> {
    repair: &'a Repair,
    reader: event_store::PartitionReader,
    generation: i32,
}

impl RepairBench<'_> {
    fn bench(&self) -> Bench<'_> {
        Bench {
            pool: &self.repair.pool,
            reader: &self.reader,
            projection: self.repair.projection,
            generation: self.generation,
        }
    }

    async fn retry(&self, address: Address) -> anyhow::Result<Retried> {
        Ok(self.bench().retry(address).await?)
    }

    async fn discard(&self, address: Address) -> anyhow::Result<Retried> {
        Ok(self.bench().discard(address).await?)
    }
}

/// The key of a parked event in every generation in which it is parked.
async fn keys_at(pool: &PgPool, name: &str, address: Address) -> anyhow::Result<Vec<ParkedKey>> {
    let keys = parked::find(pool, name, address).await?;
    if keys.is_empty() {
        bail!("no event of {name} is parked at {address}");
    }
    Ok(keys)
}

/// Says what a retry came to, and counts 1 when the key is stuck again.
fn tell(key: &ParkedKey, retried: Retried) -> anyhow::Result<usize> {
    let applied = retried.applied;
    match retried.stuck_at {
        None => {
            say(format!(
                "generation {}: {applied} applied, the key is free",
                key.generation
            ))?;
            Ok(0)
        }
        Some(at) => {
            say(format!(
                "generation {}: {applied} applied, stuck at {at}",
                key.generation
            ))?;
            Ok(1)
        }
    }
}

fn finish(stuck: usize) -> anyhow::Result<()> {
    if stuck > 0 {
        bail!("{stuck} of the keys are still parked: `projector parked list` says why");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        let address = "3:1042".parse::<AddressArg>().unwrap().0;
        assert_eq!(address.to_string(), "3:1042");
        for wrong in ["", "3", "3:", ":4", "3:x", "70000:1", "3:4:5"] {
            assert!(wrong.parse::<AddressArg>().is_err(), "{wrong}");
        }
    }
}
