//! The command benchmark: registrations over HTTP that are durable when they are answered, by
//! command-api as it is deployed without Kafka, by stock cqrs-es behind the same handler, and by a
//! Go stack that inserts a user and an event.
//!
//! | module | its part |
//! |---|---|
//! | [`contender`] | who takes commands |
//! | [`stock`] | the yardstick of the same design; the other one is `bench/go` |
//! | [`report`] | the tables |

mod contender;
mod report;
mod stock;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sqlx::Connection as _;
use testkit::Cluster;

pub(crate) use self::stock::{StockArgs, serve_stock};

use self::contender::Contenders;
use self::report::Results;
use crate::figure::Row;
use crate::go::Go;
use crate::http::Load;
use crate::http::report::progress;
use crate::machine;
use crate::output::say;

/// Sizes of the benchmark; the defaults are those of docs/performance.md.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommandArgs {
    /// Connections, each with a principal of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,64,512")]
    levels: Vec<usize>,
    /// Connections of the measurement at a fixed rate.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How often each contender is measured at each level.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How often each latency is measured, ours and the yardstick's in turns.
    #[arg(long, default_value_t = 3)]
    latency_rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Seconds before each measurement that do not count.
    #[arg(long, default_value_t = 2)]
    warm_up_seconds: u64,
}

impl CommandArgs {
    fn load(&self, connections: usize) -> Load {
        Load {
            // Each contender puts its own.
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            expected: 201,
            connections,
            warm_up: Duration::from_secs(self.warm_up_seconds),
            time: Duration::from_secs(self.seconds),
        }
    }
}

/// Runs the benchmark; its rows of the table.
///
/// # Errors
/// When a server or a contender fails: then there are no figures.
pub(crate) async fn run(args: CommandArgs) -> anyhow::Result<Vec<Row>> {
    let go = Go::build().await?;
    let cluster = Cluster::start("bench", &machine::server_settings(false)).await?;
    let mut admin = cluster.admin().await?;
    say(&machine::describe(&mut admin, cluster.folder()).await?)?;
    admin.close().await?;
    say(&go.line())?;
    let contenders = Contenders::start(&cluster, &args, &go).await?;
    let mut results = Results::default();
    for round in 0..args.rounds {
        for connections in &args.levels {
            for turn in 0..contenders.all.len() {
                let contender = &contenders.all[(round + turn) % contenders.all.len()];
                let load = args.load(*connections);
                let measured = contenders.closed(contender, &cluster, load).await?;
                let name = format!("{} ({connections})", contender.name);
                say(&progress(round, &name, &measured))?;
                results.add(contender.name, *connections, measured);
            }
        }
    }
    say(&results.rates(&args))?;
    let load = args.load(args.connections);
    for mut pair in results.pairs(args.connections) {
        for round in 0..args.latency_rounds {
            for turn in [round % 2, (round + 1) % 2] {
                let name = pair.names[turn];
                let contender = contenders
                    .all
                    .iter()
                    .find(|contender| contender.name == name);
                let contender = contender.context("a contender that was measured")?;
                match contenders
                    .at_rate(contender, &cluster, load, pair.rate)
                    .await
                {
                    Ok(measured) => pair.rounds[turn].push(measured),
                    // Who does not hold the rate takes no other figure with it.
                    Err(error) => pair.failed = Some(format!("{name}: {error}")),
                }
            }
        }
        results.latencies.push(pair);
    }
    say(&results.latency_lines())?;
    Ok(results.rows(&args, &go))
}
