//! The rebuild benchmark: events a second of `projector rebuild user_view`, beside the rate at
//! which bare closed-range reads of the same events come over as many connections.
//!
//! | module | its part |
//! |---|---|
//! | [`log`] | the events, written once |
//! | [`bare`] | the yardstick |

mod bare;
mod log;

use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use event_store::EventStore;
use events::PartitionCount;
use projector::rebuild::{Allowed, Purpose, Rebuild, RebuildSettings, Report};
use read_model::user_view::UserView;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, Executor as _, PgPool};

use crate::figure::{Mark, Row, Spread};
use crate::machine;
use crate::output::{load, say};
use testkit::Cluster;
use testkit::database::migrations_folder;

const DATABASE: &str = "bench_rebuild";

/// The mark: events a second of the whole rebuild by those of the bare reads.
const MARK: Mark = Mark::AtLeast(0.4);

/// Sizes of the benchmark.
#[derive(Args, Clone, Debug)]
pub(crate) struct RebuildArgs {
    /// How many events are rebuilt from.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// How often both are measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Partitions of the store.
    #[arg(long, default_value_t = 16)]
    partitions: u16,
    /// Slices at a time, and connections of the bare reads.
    #[arg(long, default_value_t = RebuildSettings::default().parallelism)]
    parallelism: usize,
}

/// Runs the benchmark on a private server; its row of the table.
///
/// # Errors
/// When the server, a read or a rebuild fails: then there are no figures.
pub(crate) async fn run(args: RebuildArgs) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start("bench", &machine::server_settings(false)).await?;
    let mut admin = cluster.admin().await?;
    say(&machine::describe(&mut admin, cluster.folder()).await?)?;
    admin
        .execute(format!("create database {DATABASE}").as_str())
        .await?;
    let settings = RebuildSettings {
        parallelism: args.parallelism,
        ..RebuildSettings::default()
    };
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections())
        .connect_with(cluster.options(DATABASE))
        .await?;
    let store = filled(&pool, &args).await?;
    // The first one has nothing to compare its rows with; it is the live one of the rounds.
    rebuild(&pool, &store, settings).await?;
    admin.execute("checkpoint").await?;
    let events = args.events;
    say(&format!(
        "\n{events} events, {} at a time; events a second\n\n{:>12}{:>12}{:>12}{:>12}{:>10}{:>12}{:>10}  {}\n",
        args.parallelism,
        "bare",
        "decoded",
        "build",
        "rebuild",
        "by bare",
        "by decoded",
        "load",
        "seconds of each phase"
    ))?;
    let (mut rebuilds, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let heads = store.heads().await?;
        let bare = bare::rows(&pool, &heads, settings).await?;
        let decoded = bare::decoded(&store, &heads, settings).await?;
        let report = rebuild(&pool, &store, settings).await?;
        let (build, whole) = (
            rate(events, report.build_seconds),
            rate(events, report.seconds),
        );
        say(&format!(
            "{bare:>12.0}{decoded:>12.0}{build:>12.0}{whole:>12.0}{:>10.2}{:>12.2}{:>10}  {}\n",
            whole / bare,
            whole / decoded,
            load(),
            phases(&report)
        ))?;
        rebuilds.push(whole);
        reads.push(bare);
    }
    admin.close().await?;
    pool.close().await;
    let median = Spread::of_ratios(&rebuilds, &reads).median;
    say(&format!(
        "\nrebuild by bare reads, median: {median:.2}{}\n\
         bare: rows fetched by closed ranges, only their positions looked at; decoded: the same \
         as events;\nbuild: read, folded and copied; rebuild: with keys, comparison of every row, \
         proof and switch\n",
        MARK.judge(median)
    ))?;
    let what = format!("rebuild of {events} events, by bare reads");
    let row = Row::ratio(what, "ev/s", (&rebuilds, &reads), MARK);
    Ok(vec![row])
}

async fn filled(pool: &PgPool, args: &RebuildArgs) -> anyhow::Result<EventStore> {
    Migrator::new(migrations_folder())
        .await?
        .run(pool)
        .await
        .context("migrating")?;
    let partitions = PartitionCount::new(args.partitions).context("1 to 1024 partitions")?;
    EventStore::create(pool, partitions, "bench").await?;
    let begun = Instant::now();
    log::fill(pool, partitions, args.events).await?;
    pool.execute("vacuum (analyze) event_store.event").await?;
    pool.execute("checkpoint").await?;
    say(&format!(
        "filled    {} events in {:.0} s\n",
        args.events,
        begun.elapsed().as_secs_f64()
    ))?;
    Ok(EventStore::open(pool.clone()).await?)
}

async fn rebuild(
    pool: &PgPool,
    store: &EventStore,
    settings: RebuildSettings,
) -> anyhow::Result<Report> {
    let (pool, allowed) = (pool.clone(), Allowed::default());
    let run = Rebuild::new(pool, store, &UserView, settings, allowed, Purpose::Switch);
    let report = run.run(false).await?;
    anyhow::ensure!(report.switched, "a rebuild that is measured is shown");
    Ok(report)
}

/// Events a second.
fn rate(events: usize, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let events = events as f64;
    events / seconds
}

fn phases(report: &Report) -> String {
    let phases = report.phases.iter();
    let phases: Vec<_> = phases
        .map(|(phase, seconds)| format!("{phase} {seconds:.2}"))
        .collect();
    phases.join(", ")
}
