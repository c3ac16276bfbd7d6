//! `projector store`: the event store itself.

use anyhow::Context as _;
use event_store::{EventStore, incarnation};
use serde::Serialize;

use super::connect::ConnectArgs;
use super::output::{Output, say, say_json, table, text};

/// What to do with the store.
#[derive(Debug, clap::Subcommand)]
pub(super) enum StoreVerb {
    /// Show what the store is: its id, partitions, heads and incarnations
    Info(InfoArgs),
    /// Begin another incarnation by hand, after a restore: what was said above the present heads becomes void
    Fork(ForkArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct InfoArgs {
    /// For whom
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ForkArgs {
    /// The greatest incarnation number known to have been handed out, when the restored store is older than that
    #[arg(long, default_value_t = 0)]
    above: i32,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn store(verb: StoreVerb) -> anyhow::Result<()> {
    match verb {
        StoreVerb::Info(args) => info(args).await,
        StoreVerb::Fork(args) => fork(args).await,
    }
}

#[derive(Serialize)]
struct Info {
    store_id: String,
    partitions: u16,
    incarnation: i32,
    heads: Vec<i64>,
}

async fn info(args: InfoArgs) -> anyhow::Result<()> {
    let store = EventStore::open(args.connect.connect()?).await?;
    let heads = store.heads().await?;
    let info = Info {
        store_id: store.store_id().to_string(),
        partitions: store.partitions().get(),
        incarnation: store.incarnations().await?.current(),
        heads: heads.iter().map(|head| head.position).collect(),
    };
    if args.output == Output::Json {
        return say_json(&info);
    }
    say(format!("store        {}", info.store_id))?;
    say(format!("incarnation  {}", info.incarnation))?;
    let mut heads = table(&["PARTITION", "HEAD"], &[0, 1]);
    for (partition, head) in info.heads.iter().enumerate() {
        heads.add_row([partition.to_string(), head.to_string()]);
    }
    say(text(&heads))
}

async fn fork(args: ForkArgs) -> anyhow::Result<()> {
    let pool = args.connect.connect()?;
    let number = incarnation::fork(&pool, args.above).await;
    let number = number.context("the next incarnation could not be begun")?;
    say(format!(
        "incarnation {number} has begun: tokens and checkpoints above the present heads are void"
    ))
}
