//! The query benchmark: one user over HTTP, with a token, the rate limit, a log line and metrics,
//! from each layer that can have it; beside it bare actix-web that sends the same bytes.
//!
//! Everything is a process of its own. Every contender is measured in every round, and each round
//! begins with another one; afterwards the latency of each is measured at half of the best rate of
//! its yardstick, and the yardstick's at the same one.
//!
//! | module | its part |
//! |---|---|
//! | [`stage`] | the users and their view |
//! | [`contender`] | who answers |
//! | [`bare`], [`go`] | the yardsticks |
//! | [`comparison`] | who is compared with whom, and the marks |
//! | [`gets`] | the requests |
//! | [`report`] | the tables |

mod bare;
mod comparison;
mod contender;
mod gets;
mod go;
mod report;
mod stage;

use std::time::Duration;

use clap::Args;
use sqlx::Connection as _;
use testkit::Cluster;

pub(crate) use self::bare::{BareArgs, serve as serve_bare};
pub(crate) use self::contender::FRESH;
pub(crate) use self::gets::{Gets, request};
pub(crate) use self::stage::{DATABASE, Stage, limits};

use self::report::Results;
use crate::figure::Row;
use crate::go::Go;
use crate::http::Measured;
use crate::http::report::progress;
use crate::machine;
use crate::output::say;

/// Sizes of the benchmark; the defaults are those of docs/performance.md.
#[derive(Args, Clone, Debug)]
pub(crate) struct QueryArgs {
    /// Connections, each with a principal of its own.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How often each contender is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How often each latency is measured, ours and the yardstick's in turns.
    #[arg(long, default_value_t = 3)]
    latency_rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds before each measurement that do not count.
    #[arg(long, default_value_t = 2)]
    warm_up_seconds: u64,
    /// Users that are asked for.
    #[arg(long, default_value_t = 10_000)]
    users: usize,
    /// Of those, the ones that are asked for when answers are in the process.
    #[arg(long, default_value_t = 1_000)]
    hot: usize,
}

impl QueryArgs {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up_seconds)
    }
}

/// Runs the benchmark; its rows of the table.
///
/// # Errors
/// When a server or a contender fails: then there are no figures.
pub(crate) async fn run(args: QueryArgs) -> anyhow::Result<Vec<Row>> {
    let go = Go::build().await?;
    let cluster = Cluster::start("bench", &machine::server_settings(false)).await?;
    let mut admin = cluster.admin().await?;
    say(&machine::describe(&mut admin, cluster.folder()).await?)?;
    admin.close().await?;
    say(&go.line())?;
    let stage = Stage::build(&cluster, args.connections, args.users).await?;
    let contenders = contender::all(&stage, &args, &go).await?;
    let mut results = Results::new(&contenders);
    for round in 0..args.rounds {
        for turn in 0..contenders.len() {
            let number = (round + turn) % contenders.len();
            let contender = &contenders[number];
            let measured = contender.closed(&stage, &args, cluster.pid()).await?;
            say(&progress(round, contender.name, &measured))?;
            results.rounds[number].push(measured);
        }
    }
    say(&results.rates(&args))?;
    let mut pairs = results.pairs();
    for round in 0..args.latency_rounds {
        for pair in &mut pairs {
            for turn in pair.turns(round) {
                let contender = &contenders[pair.numbers[turn]];
                let (rate, pid) = (pair.rate, cluster.pid());
                match contender.at_rate(&stage, &args, pid, rate).await {
                    Ok(measured) => pair.rounds[turn].push(measured),
                    // Who does not hold the rate takes no other figure with it.
                    Err(error) => pair.failed = Some(format!("{}: {error}", contender.name)),
                }
            }
        }
    }
    say(&results.latencies(&pairs))?;
    Ok(results.rows(&pairs, &go))
}

/// The rates of one contender, by rounds.
fn rates(rounds: &[Measured]) -> Vec<f64> {
    rounds.iter().map(Measured::rate).collect()
}
