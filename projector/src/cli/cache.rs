//! `projector cache`: looks after what is in Redis. All of it is disposable, so nothing here is
//! dangerous; a cold cache only makes PostgreSQL work.

use anyhow::{Context as _, bail};
use events::TenantId;
use platform::config::{Problems, RedisArgs};

use super::connect::ConnectArgs;
use super::output::{Output, say, say_json, table, text};
use crate::cache::Tools;
use crate::cache::check::{Checked, check};
use crate::cache::purge::purge;
use crate::cache::warm::{WarmPlan, warm};

/// What to do with Redis.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CacheVerb {
    /// Compare cached values with their rows; fails when one is wrong
    Check(CheckArgs),
    /// Fill the users that were active last
    Warm(WarmArgs),
    /// Make everything cold and delete it, or one tenant's values
    Purge(PurgeArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Stop after about so many values; unset = all of them
    #[arg(long)]
    sample: Option<u64>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct WarmArgs {
    /// Only this tenant's users
    #[arg(long, value_parser = TenantId::parse)]
    tenant: Option<TenantId>,
    /// At most so many users
    #[arg(long, default_value = "10000",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// At most so many users a second
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    /// Only this tenant's values
    #[arg(long, value_parser = TenantId::parse)]
    tenant: Option<TenantId>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// For whom
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl PlaceArgs {
    async fn open(self) -> anyhow::Result<(Tools, Output)> {
        let mut problems = Problems::default();
        let redis = self.redis.validate(&mut problems);
        if redis.is_none() {
            problems.add("REDIS_URL", "is required: set it or REDIS_URL_FILE");
        }
        problems.check_or_exit();
        let redis = redis.context("REDIS_URL is required")?;
        let tools = Tools::open(self.connect.connect()?, &redis).await?;
        Ok((tools, self.output))
    }
}

pub(super) async fn cache(verb: CacheVerb) -> anyhow::Result<()> {
    match verb {
        CacheVerb::Check(args) => {
            let (tools, output) = args.place.open().await?;
            let checked = check(&tools, args.sample).await?;
            show_checked(&checked, output)?;
            if checked.wrong > 0 {
                bail!("{} cached values are wrong", checked.wrong);
            }
            Ok(())
        }
        CacheVerb::Warm(args) => {
            let (tools, output) = args.place.open().await?;
            let plan = WarmPlan {
                tenant: args.tenant,
                limit: args.limit,
                per_second: args.rate,
            };
            let warmed = warm(&tools, &plan).await?;
            let line = format!("{} of {} users filled", warmed.filled, warmed.looked_at);
            show(&warmed, line, output)
        }
        CacheVerb::Purge(args) => {
            let (tools, output) = args.place.open().await?;
            let purged = purge(&tools, args.tenant.as_ref()).await?;
            let (cold, deleted) = (purged.made_cold, purged.deleted);
            let line = format!("{cold} partitions made cold, {deleted} keys deleted");
            show(&purged, line, output)
        }
    }
}

fn show(value: &impl serde::Serialize, line: String, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => say_json(value),
        Output::Table => say(line),
    }
}

fn show_checked(checked: &Checked, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return say_json(checked);
    }
    let mut counts = table(&["VALUES", "COUNT"], &[1]);
    for (word, count) in [
        ("right", checked.right),
        ("cold", checked.cold),
        ("gone", checked.gone),
        ("behind", checked.behind),
        ("wrong", checked.wrong),
    ] {
        counts.add_row([word.to_owned(), count.to_string()]);
    }
    say(text(&counts))?;
    for wrong in &checked.named {
        say(format!("{}: {}", wrong.key, wrong.why))?;
    }
    Ok(())
}
