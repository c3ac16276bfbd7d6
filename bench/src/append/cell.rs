//! One measurement of one contender at one level.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use testkit::Cluster;
use tokio::task::JoinSet;

use super::AppendArgs;
use super::databases::MEASURED;
use crate::cpu::CpuTimes;
use crate::figure::float;
use crate::gauge::{Gauge, pause};

const WAL_POSITION: &str = "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Contender {
    /// cqrs-es with postgres-es, as their documents say, a pool of 16.
    Stock,
    /// A multi-row insert in its own transaction, over and over, on as many connections as lanes.
    Bare,
    /// Ours, doing what stock does: events with their expected version.
    Events,
    /// Ours, doing all that command-api does: turns, cache, claims and idempotency keys.
    Commands,
}

impl Contender {
    /// The name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock cqrs-es + postgres-es",
            Self::Bare => "bare multi-row insert",
            Self::Events => "ours, append alone",
            Self::Commands => "ours, whole command",
        }
    }

    /// Whether it is ours.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Events | Self::Commands)
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) contender: Contender,
    pub(super) level: u16,
    pub(super) events: u64,
    pub(super) elapsed: Duration,
    /// Of a command; of a whole batch for the bare insert.
    pub(super) micros: Histogram<u64>,
    /// Events of one transaction, on average.
    pub(super) batch: f64,
    pub(super) cpu: CpuTimes,
    pub(super) wal_bytes: u64,
}

impl Cell {
    /// Events a second.
    pub(super) fn rate(&self) -> f64 {
        float(self.events) / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency in milliseconds.
    pub(super) fn millis(&self, quantile: f64) -> f64 {
        float(self.micros.value_at_quantile(quantile)) / 1000.0
    }

    /// Microseconds of processor time an event.
    pub(super) fn micros_an_event(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / float(self.events.max(1))
    }

    /// Microseconds of the server's sessions an event.
    pub(super) fn session_micros(&self) -> f64 {
        self.micros_an_event(self.cpu.backends)
    }

    /// Events for a second of processor time of server and program together: what the machine
    /// would do if it did nothing else. A busy neighbour spoils it less than the rate.
    pub(super) fn events_a_cpu_second(&self) -> f64 {
        1e6 / self.micros_an_event(self.cpu.server + self.cpu.client)
    }

    /// WAL bytes an event.
    pub(super) fn wal_an_event(&self) -> f64 {
        float(self.wal_bytes) / float(self.events.max(1))
    }

    /// Cores that neither the server nor this program used.
    pub(super) fn others(&self) -> f64 {
        self.cpu.others().as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// What the contender put into transactions so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batches {
    pub(super) events: f64,
    pub(super) transactions: f64,
}

impl Batches {
    /// The average since `earlier`.
    pub(super) fn average_since(self, earlier: Self) -> f64 {
        (self.events - earlier.events) / (self.transactions - earlier.transactions).max(1.0)
    }
}

/// Lets `writers` warm up, measures them, stops them and waits for their ends. A writer that fails
/// fails the measurement.
///
/// # Errors
/// Of a writer, of the server, of /proc.
pub(super) async fn measure(
    cluster: &Cluster,
    args: &AppendArgs,
    (contender, level): (Contender, u16),
    batches: impl Fn() -> Batches,
    writers: impl IntoIterator<Item = impl Future<Output = anyhow::Result<()>> + Send + 'static>,
    gauge: &Gauge,
) -> anyhow::Result<Cell> {
    let mut running: JoinSet<anyhow::Result<()>> = writers.into_iter().collect();
    let mut admin = cluster.admin().await?;
    pause(&mut running, Duration::from_secs(args.warm_up_seconds)).await?;
    let wal_before = wal_position(&mut admin).await?;
    let batches_before = batches();
    let cpu_before = CpuTimes::read(cluster.pid(), MEASURED)?;
    gauge.measure();
    let begun = Instant::now();
    pause(&mut running, Duration::from_secs(args.seconds)).await?;
    // Before the stop: sessions that end take their times with them.
    let cpu = CpuTimes::read(cluster.pid(), MEASURED)?.since(cpu_before);
    gauge.stop();
    let elapsed = begun.elapsed();
    let batch = batches().average_since(batches_before);
    let wal_bytes = wal_position(&mut admin).await? - wal_before;
    while let Some(ended) = running.join_next().await {
        ended.context("a writer panicked")??;
    }
    let (events, micros) = (gauge.done(), gauge.take_micros());
    anyhow::ensure!(events > 0, "{} did nothing in the window", contender.name());
    Ok(Cell {
        contender,
        level,
        events,
        elapsed,
        micros,
        batch,
        cpu,
        wal_bytes,
    })
}

/// Bytes of WAL since the cluster was made.
async fn wal_position(admin: &mut sqlx::PgConnection) -> anyhow::Result<u64> {
    let position: i64 = sqlx::query_scalar(WAL_POSITION).fetch_one(admin).await?;
    Ok(u64::try_from(position)?)
}
