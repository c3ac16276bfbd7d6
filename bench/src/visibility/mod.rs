//! The visibility benchmark: how long after its acknowledgement a command's effect can be read, at
//! half of what the machine holds, through Kafka and through PostgreSQL.
//!
//! Everything runs as it would be operated: `command-api` (with its relay) and `projector run` are
//! processes of their own beside a private PostgreSQL with fsync on and a broker; commands come
//! over HTTP. Acknowledged is the moment when the client has the 201; visible the one when the
//! notification that wakes waiting readers arrives, which the commit of the rows sends.
//!
//! | module | its part |
//! |---|---|
//! | [`services`] | the processes |
//! | [`broker`] | Kafka, and the topic |
//! | [`load`] | the commands: as many as go, or so many a second |
//! | [`watch`] | when what became visible |

mod broker;
mod load;
mod services;
mod watch;

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sqlx::Connection as _;

use self::broker::Broker;
use self::load::Client;
use self::services::Services;
use self::watch::{Measured, Watch};
use crate::figure::{Mark, Row, Spread};
use crate::machine;
use crate::output::say;
use testkit::Cluster;

/// Sizes of the benchmark; the defaults are those of docs/performance.md.
#[derive(Args, Clone, Debug)]
pub(crate) struct VisibilityArgs {
    /// How often each source is measured, one after the other.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Seconds before each measurement that do not count.
    #[arg(long, default_value_t = 5)]
    warm_up_seconds: u64,
    /// Connections that find out what the machine holds.
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// Commands a second, instead of half of what the machine holds.
    #[arg(long)]
    rate: Option<f64>,
    /// Partitions of the store and the topic.
    #[arg(long, default_value_t = 16)]
    partitions: u16,
    /// Brokers, host:port with commas between, instead of one of our own.
    #[arg(long)]
    kafka_brokers: Option<String>,
}

/// The marks of the design, through Kafka at half load, in milliseconds.
const P50_MS: Mark = Mark::AtMost(10.0);
const P99_MS: Mark = Mark::AtMost(50.0);

/// Who feeds the projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Kafka,
    Postgres,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }
}

/// Runs the benchmark; its rows of the table.
///
/// # Errors
/// When a server or a service fails: then there are no figures.
pub(crate) async fn run(args: VisibilityArgs) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start("bench", &machine::server_settings(false)).await?;
    let mut admin = cluster.admin().await?;
    say(&machine::describe(&mut admin, cluster.folder()).await?)?;
    admin.close().await?;
    let broker = Broker::start(args.kafka_brokers.as_deref(), args.partitions).await?;
    let mut services = Services::start(&cluster, &broker, args.partitions).await?;
    let client = Client::new(&services);
    let rate = match args.rate {
        Some(rate) => rate,
        None => half_of_best(&args, &mut services, &client).await?,
    };
    say(&header(&args, rate))?;
    let (mut kafka, mut postgres) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        for source in [Source::Kafka, Source::Postgres] {
            let measured = measure(&args, &cluster, &mut services, &client, source, rate).await?;
            say(&measured.line(source.name()))?;
            match source {
                Source::Kafka => kafka.push(measured),
                Source::Postgres => postgres.push(measured),
            }
        }
    }
    let median = |of: &[Measured], percent| {
        Spread::of(of.iter().map(|measured| measured.percentile(percent))).median
    };
    let (p50, p99) = (median(&kafka, 50.0), median(&kafka, 99.0));
    let without = median(&postgres, 50.0);
    say(&format!(
        "\nmedian of the p50: kafka {p50:.2} ms, postgres {without:.2} ms, kafka / postgres {:.2}\n",
        p50 / without
    ))?;
    Ok(vec![
        Row::alone("acknowledged to visible by Kafka, p50", "ms", p50, P50_MS),
        Row::alone("acknowledged to visible by Kafka, p99", "ms", p99, P99_MS),
    ])
}

fn header(args: &VisibilityArgs, rate: f64) -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "load      {rate:.0} commands/s, open loop; {} partitions; {} s a line after {} s; \
         load average before: {}\n\n\
         source    acknowledged   fed by it  p50 ms  p95 ms  p99 ms  max ms  before the 201\n",
        args.partitions,
        args.seconds,
        args.warm_up_seconds,
        load.trim(),
    )
}

/// What the machine holds while everything runs, halved.
async fn half_of_best(
    args: &VisibilityArgs,
    services: &mut Services,
    client: &Client,
) -> anyhow::Result<f64> {
    services.project_from(Source::Kafka).await?;
    client
        .as_many_as_go(args.writers, Duration::from_secs(args.warm_up_seconds))
        .await?;
    let time = Duration::from_secs(args.seconds);
    let best = client.as_many_as_go(args.writers, time).await?;
    say(&format!(
        "best      {best:.0} commands/s over HTTP with {} connections\n",
        args.writers
    ))?;
    Ok(best / 2.0)
}

async fn measure(
    args: &VisibilityArgs,
    cluster: &Cluster,
    services: &mut Services,
    client: &Client,
    source: Source,
    rate: f64,
) -> anyhow::Result<Measured> {
    services.project_from(source).await?;
    let watch = Watch::start(cluster.options(services::DATABASE), args.partitions).await?;
    let warm_up = Duration::from_secs(args.warm_up_seconds);
    client.at_rate(rate, warm_up, &watch).await?;
    watch.settle().await?;
    watch.forget();
    let before = services.events_from(source).await?;
    client
        .at_rate(rate, Duration::from_secs(args.seconds), &watch)
        .await?;
    watch.settle().await?;
    let fed = services.events_from(source).await? - before;
    watch.measured(fed).context("nothing was measured")
}
