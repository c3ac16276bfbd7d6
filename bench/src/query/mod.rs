//! The query benchmark: one user over HTTP, with a token, the rate limit, a log line and metrics,
//! from each layer that can have it; beside it bare actix-web that sends the same bytes.
//!
//! Everything is a process of its own. Every contender is measured in every round, and each round
//! begins with another one; afterwards the latency of each is measured at half of the yardstick's
//! best rate.
//!
//! | module | its part |
//! |---|---|
//! | [`stage`] | the users and their view |
//! | [`contender`] | who answers |
//! | [`bare`] | the yardstick |
//! | [`gets`] | the requests |
//! | [`report`] | the tables |

mod bare;
mod contender;
mod gets;
mod report;
mod stage;

use std::time::Duration;

use clap::Args;
use sqlx::Connection as _;
use testkit::Cluster;

pub(crate) use self::bare::{BareArgs, serve as serve_bare};
pub(crate) use self::stage::limits;

use self::contender::Contender;
use self::report::Results;
use self::stage::Stage;
use crate::figure::Row;
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
    let cluster = Cluster::start("bench", &machine::server_settings(false)).await?;
    let mut admin = cluster.admin().await?;
    say(&machine::describe(&mut admin, cluster.folder()).await?)?;
    admin.close().await?;
    let stage = Stage::build(&cluster, &args).await?;
    let contenders = contender::all(&stage, &args).await?;
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
    for (number, contender) in contenders.iter().enumerate() {
        let rate = results.half_of_best(contender, &contenders);
        let measured = contender
            .at_rate(&stage, &args, cluster.pid(), rate)
            .await?;
        results.at_rates[number].push((rate, measured));
        // The yardstick has to hold the same rate.
        if let Some(yardstick) = find(&contenders, contender.yardstick) {
            let measured = contenders[yardstick].at_rate(&stage, &args, cluster.pid(), rate);
            results.at_rates[yardstick].push((rate, measured.await?));
        }
    }
    say(&results.latencies())?;
    Ok(results.rows())
}

/// Where the contender of this name stands.
fn find(contenders: &[Contender], name: Option<&str>) -> Option<usize> {
    contenders
        .iter()
        .position(|contender| Some(contender.name) == name)
}

/// The rates of one contender, by rounds.
fn rates(rounds: &[Measured]) -> Vec<f64> {
    rounds.iter().map(Measured::rate).collect()
}
