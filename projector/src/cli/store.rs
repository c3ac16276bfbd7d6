//! `projector store`: the event store itself.

use anyhow::{Context as _, bail};
use event_store::incarnation;
use event_store::store_info::{self, HeadInfo, PartitionCheck, StoreInfo};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::connect::ConnectArgs;
use super::output::{Output, say, say_json, table, text};

/// What to do with the store.
#[derive(Debug, clap::Subcommand)]
pub(super) enum StoreVerb {
    /// Show what the store is: its id, partitions, heads, digests and incarnations
    Info(InfoArgs),
    /// Begin another incarnation by hand, after a restore: what was said above the present heads
    /// becomes void
    Fork(ForkArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct InfoArgs {
    /// Read every event, and compare digests, positions and sequences with what the append kept
    #[arg(long)]
    check: bool,
    /// For whom
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ForkArgs {
    /// The greatest incarnation known to have been handed out, when the restored store is older
    #[arg(long, default_value_t = 0)]
    above: i32,
    /// Only show what would become void, and begin nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn store(verb: StoreVerb) -> anyhow::Result<()> {
    match verb {
        StoreVerb::Info(args) => info(args).await,
        StoreVerb::Fork(args) => fork(args).await,
    }
}

async fn info(args: InfoArgs) -> anyhow::Result<()> {
    let pool = args.connect.connect()?;
    let info = store_info::info(&pool)
        .await
        .context("there is no event store to be read")?;
    let checked = checked(&pool, args.check).await?;
    match args.output {
        Output::Json => say_json(&Shown::new(&info, checked.as_deref()))?,
        Output::Table => tell(&info, checked.as_deref())?,
    }
    let unsound = checked
        .iter()
        .flatten()
        .filter(|check| !check.is_sound())
        .count();
    if unsound > 0 {
        bail!("{unsound} partitions are not what the append wrote");
    }
    Ok(())
}

async fn checked(pool: &PgPool, check: bool) -> anyhow::Result<Option<Vec<PartitionCheck>>> {
    if check {
        Ok(Some(store_info::check(pool).await?))
    } else {
        Ok(None)
    }
}

fn tell(info: &StoreInfo, checked: Option<&[PartitionCheck]>) -> anyhow::Result<()> {
    say(format!("store        {}", info.store_id))?;
    say(format!(
        "created      {}",
        info.created_at.format("%Y-%m-%dT%H:%M:%SZ")
    ))?;
    say(format!("format       {}", info.format))?;
    say(format!("partitions   {}", info.partitions))?;
    for one in &info.incarnations {
        let began = one.began_at.format("%Y-%m-%dT%H:%M:%SZ");
        say(format!(
            "incarnation  {} since {began}, timeline {}",
            one.number, one.timeline
        ))?;
    }
    let mut heads = table(
        &["PARTITION", "HEAD", "FLOOR", "DIGEST", "CHECK"],
        &[0, 1, 2],
    );
    for head in &info.heads {
        heads.add_row([
            head.partition.to_string(),
            head.position.to_string(),
            head.floor.to_string(),
            digest(head),
            checked.map_or("-".to_owned(), |checks| finding(checks, head)),
        ]);
    }
    say(text(&heads))
}

fn digest(head: &HeadInfo) -> String {
    head.digest.to_string()
}

fn finding(checks: &[PartitionCheck], head: &HeadInfo) -> String {
    let Some(check) = checks
        .iter()
        .find(|check| check.head.partition == head.partition)
    else {
        return "-".to_owned();
    };
    match check {
        check if check.is_sound() => "sound".to_owned(),
        PartitionCheck {
            hole: Some(position),
            ..
        } => format!("no event at {position}"),
        PartitionCheck { broken_streams, .. } if *broken_streams > 0 => {
            format!("{broken_streams} broken streams")
        }
        _ => "another digest".to_owned(),
    }
}

/// The store for programs.
#[derive(Serialize)]
struct Shown {
    store_id: String,
    created_at: String,
    format: i32,
    partitions: i32,
    incarnation: Option<i32>,
    incarnations: Vec<Value>,
    heads: Vec<Value>,
}

impl Shown {
    fn new(info: &StoreInfo, checked: Option<&[PartitionCheck]>) -> Self {
        let incarnation = |one: &store_info::IncarnationInfo| {
            json!({
                "number": one.number, "timeline": one.timeline,
                "began_at": one.began_at.to_rfc3339(), "heads": one.heads,
            })
        };
        let head = |head: &HeadInfo| {
            json!({
                "partition": head.partition, "position": head.position, "floor": head.floor,
                "digest": digest(head), "check": checked.map(|checks| finding(checks, head)),
            })
        };
        Self {
            store_id: info.store_id.to_string(),
            created_at: info.created_at.to_rfc3339(),
            format: info.format,
            partitions: info.partitions,
            incarnation: info.incarnations.last().map(|one| one.number),
            incarnations: info.incarnations.iter().map(incarnation).collect(),
            heads: info.heads.iter().map(head).collect(),
        }
    }
}

async fn fork(args: ForkArgs) -> anyhow::Result<()> {
    let pool = args.connect.connect()?;
    if args.dry_run {
        return foretell(&pool, args.above).await;
    }
    let number = incarnation::fork(&pool, args.above).await;
    let number = number.context("the next incarnation could not be begun")?;
    say(format!(
        "incarnation {number} has begun: tokens and checkpoints above the present heads are void"
    ))
}

/// What a fork would begin with, as the store stands at this moment.
async fn foretell(pool: &PgPool, above: i32) -> anyhow::Result<()> {
    let info = store_info::info(pool)
        .await
        .context("there is no event store to be read")?;
    let newest = info.incarnations.last().map_or(0, |one| one.number);
    let next = newest.max(above) + 1;
    say(format!(
        "incarnation {next} would follow {newest}: tokens and checkpoints above these heads would \
         become void"
    ))?;
    let mut heads = table(&["PARTITION", "HEAD"], &[0, 1]);
    for head in &info.heads {
        heads.add_row([head.partition.to_string(), head.position.to_string()]);
    }
    say(text(&heads))?;
    say("nothing was done (--dry-run)")
}
