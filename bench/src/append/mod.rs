//! The append benchmark: how many commands become durable in a second, and how long each waits.
//!
//! | module | its part |
//! |---|---|
//! | [`cell`] | one measurement of one contender |
//! | [`stock`] | cqrs-es with postgres-es, as their documents say |
//! | [`bare`], [`rows`] | the bare multi-row insert: what this PostgreSQL can do at most |
//! | [`ours`], [`writer`] | the group commit, with the entries that command-api makes |
//! | [`decider`] | the same, by command-api's whole way from the command to its answer |
//! | [`databases`] | what each contender finds in its database |
//! | [`rounds`] | the order: every contender at every level, several times |
//! | [`report`] | medians, spread, ratios and marks |
//! | [`long`] | ours alone, to see whether the rate holds as the table grows |
//! | [`statements`] | where the server's time goes, when asked |

mod bare;
mod cell;
mod databases;
mod decider;
mod long;
mod ours;
mod report;
mod rounds;
mod rows;
mod statements;
mod stock;
mod writer;

pub(crate) use self::databases::STOCK_TABLE;

use clap::Args;
use event_store::AppendSettings;
use sqlx::Connection as _;
use testkit::Cluster;

use crate::figure::Row;
use crate::machine;
use crate::output::say;

/// Sizes of the benchmark; the defaults are those of docs/performance.md.
#[derive(Args, Clone, Debug)]
pub(crate) struct AppendArgs {
    /// Ours alone until `--events` are stored, with the rate of each million.
    #[arg(long)]
    long: bool,
    /// Concurrent commands (with --long only the last one is used).
    #[arg(long, value_delimiter = ',', default_value = "1,64,512")]
    levels: Vec<u16>,
    /// How often each contender is measured at each level.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Seconds before each measurement that do not count.
    #[arg(long, default_value_t = 1)]
    warm_up_seconds: u64,
    /// With --long: how many events.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// With --long: stop after this time, however many events there are.
    #[arg(long, default_value_t = 30)]
    minutes_max: u64,
    /// Only these contenders (stock, bare, events, commands).
    #[arg(long, value_delimiter = ',')]
    only: Vec<cell::Contender>,
    /// Lanes of ours, and connections of the bare insert.
    #[arg(long, default_value_t = AppendSettings::default().lanes)]
    lanes: u16,
    /// Partitions of the store.
    #[arg(long, default_value_t = 16)]
    partitions: u16,
    /// Of a hundred commands of the contender `commands`, how many carry an idempotency key.
    #[arg(long, default_value_t = 10)]
    keys_percent: u64,
    /// Load pg_stat_statements and print where the server's time went, a contender after another.
    #[arg(long)]
    statements: bool,
}

/// Runs the benchmark on a private server; its rows of the table.
///
/// # Errors
/// When the server or a contender fails: then there are no figures.
pub(crate) async fn run(args: AppendArgs) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start("bench", &machine::server_settings(args.statements)).await?;
    let mut admin = cluster.admin().await?;
    let machine = machine::describe(&mut admin, cluster.folder()).await?;
    admin.close().await?;
    say(&machine)?;
    databases::prepare(&cluster, args.partitions).await?;
    if args.long {
        long::run(&cluster, &args).await?;
        return Ok(vec![]);
    }
    let cells = rounds::run(&cluster, &args).await?;
    say(&report::tables(&cells))?;
    say(&report::ratios(&cells))?;
    Ok(report::rows(&cells))
}
