//! `projector rebuild` and `projector verify`.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use event_store::EventStore;
use read_model::projection::Projection;

use super::connect::ConnectArgs;
use super::output::{Output, say, table, text};
use super::progress::shown;
use crate::rebuild::{Allowed, Purpose, Rebuild, RebuildSettings, Report};

const MIB: usize = 1024 * 1024;

/// What to rebuild, and what need not add up.
#[derive(Debug, clap::Args)]
pub(super) struct RebuildArgs {
    /// The projection, such as user_view
    projection: String,
    /// Throw away what a run that was ended has left, instead of going on from it
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What to compare.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The projection, such as user_view
    projection: String,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct AllowArgs {
    /// Events may be parked
    #[arg(long)]
    allow_parked: bool,
    /// Columns in which rows may differ from what is shown; `rows`: they may be missing
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    allow_differences: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct HowArgs {
    /// Partitions that are read at a time [default: the cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallelism: Option<u16>,
    /// MiB that the folds in memory may hold together; what is more is written in batches
    #[arg(long, default_value = "512", value_parser = clap::value_parser!(u32).range(1..))]
    memory_mib: u32,
    /// Read nothing while the live projection is further behind than this
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    live_lag_max: Duration,
    /// How long to wait for the live projection, and for a moment to switch
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// How long others are kept out when this process does not answer any more
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    lease: Duration,
    /// For whom: a table, or JSON lines with the progress and the result
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

/// A shorter lease could run out between two renewals on a busy machine.
const LEASE_MIN: Duration = Duration::from_millis(500);

impl HowArgs {
    fn settings(&self) -> anyhow::Result<RebuildSettings> {
        ensure!(self.lease >= LEASE_MIN, "--lease is at least 500ms");
        let defaults = RebuildSettings::default();
        Ok(RebuildSettings {
            parallelism: self.parallelism.map_or(defaults.parallelism, usize::from),
            memory_bytes: usize::try_from(self.memory_mib)?.saturating_mul(MIB),
            live_lag_max: self.live_lag_max,
            patience: self.patience,
            lease: self.lease,
            ..defaults
        })
    }
}

pub(super) async fn rebuild(args: RebuildArgs) -> anyhow::Result<()> {
    let (allow, how) = (args.allow, args.how);
    let run = prepare(&args.projection, args.connect, allow, &how, Purpose::Switch).await?;
    tell(&run, args.restart, how.output).await
}

pub(super) async fn verify(args: VerifyArgs) -> anyhow::Result<()> {
    let (allow, how) = (args.allow, args.how);
    let run = prepare(
        &args.projection,
        args.connect,
        allow,
        &how,
        Purpose::Compare,
    )
    .await?;
    tell(&run, false, how.output).await
}

/// The projection of that name, or that there is none.
pub(super) fn named(name: &str) -> anyhow::Result<&'static dyn Projection> {
    read_model::projection(name).with_context(|| {
        let names: Vec<_> = read_model::PROJECTIONS
            .iter()
            .map(|one| one.name())
            .collect();
        format!("there is no projection `{name}`, but {}", names.join(", "))
    })
}

async fn prepare(
    name: &str,
    connect: ConnectArgs,
    allow: AllowArgs,
    how: &HowArgs,
    purpose: Purpose,
) -> anyhow::Result<Rebuild> {
    let projection = named(name)?;
    let settings = how.settings()?;
    let pool = connect.connect_to_build(settings.connections())?;
    let store = EventStore::open(pool.clone()).await?;
    let allowed = Allowed {
        parked: allow.allow_parked,
        ..Allowed::default()
    };
    let allowed = allowed.differences(allow.allow_differences);
    Ok(Rebuild::new(
        pool, &store, projection, settings, allowed, purpose,
    ))
}

async fn tell(run: &Rebuild, restart: bool, output: Output) -> anyhow::Result<()> {
    let report = shown(&run.progress(), output, run.run(restart)).await?;
    if output == Output::Json {
        return say(serde_json::to_string(&report)?);
    }
    proven(&report)?;
    say(concluded(&report))
}

/// What was proven of each partition.
fn proven(report: &Report) -> anyhow::Result<()> {
    let header = ["PARTITION", "POSITION", "APPLIED", "PARKED", "DIGEST"];
    let mut table = table(&header, &[0, 1, 2, 3]);
    for one in &report.partitions {
        table.add_row([
            one.partition.to_string(),
            one.position.to_string(),
            one.applied.to_string(),
            one.parked.to_string(),
            one.digest.clone(),
        ]);
    }
    say(text(&table))?;
    say(
        "every partition: applied + parked = position, and the digest of what was read is the one \
         that the append kept",
    )
}

fn concluded(report: &Report) -> String {
    let (name, generation) = (report.projection, report.generation);
    let compared = match report.compared_with {
        Some(live) if report.differences.is_empty() => {
            format!("every row equals generation {live}'s")
        }
        Some(live) => {
            let differences: Vec<_> = report.differences.iter().map(ToString::to_string).collect();
            let differences = differences.join("; ");
            format!("rows equal generation {live}'s but for what was allowed: {differences}")
        }
        None => "nothing was shown before, so there were no rows to compare with".to_owned(),
    };
    let end = if report.switched {
        format!(
            "generation {generation} of {name} is shown; `projector rollback` shows what was, and \
             `projector gc --with-last-standby` drops it"
        )
    } else {
        format!("the fresh fold of {name} is dropped again, nothing was switched")
    };
    format!(
        "{compared}\n{end}\n{} events in {:.1} s, {:.1} s in all",
        report.events, report.build_seconds, report.seconds
    )
}
