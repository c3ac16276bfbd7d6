//! Ours alone to ten million events: does the rate hold as the table grows? A quarter registers,
//! and the others update any user of the whole history, so the indexes are touched everywhere and
//! most updates are of streams that the window has long forgotten. That is the worst case.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use testkit::Cluster;
use tokio::task::JoinSet;

use super::databases::MEASURED;
use super::ours::{self, Extras, Store};
use super::{AppendArgs, statements};
use crate::cpu::CpuTimes;
use crate::figure::float;
use crate::gauge::Gauge;
use crate::machine;
use crate::output::say;

const STEP: u64 = 1_000_000;
const POLL: Duration = Duration::from_millis(20);

/// Table, indexes and the streams beside them, for an event; and twice the greatest WAL.
const DISK_AN_EVENT: u64 = 1_000;
const DISK_WAL: u64 = 5 << 30;

const SIZES: &str = "
select pg_table_size('event_store.event'), pg_indexes_size('event_store.event'),
    pg_total_relation_size('event_store.stream'),
    (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint,
    (select checkpoints_timed + checkpoints_req from pg_stat_bgwriter)";

/// Sizes on disk.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct Sizes(i64, i64, i64, i64, i64);

/// Runs until the events are stored, or the time is over.
///
/// # Errors
/// When the disk is too small, or the server or a command fails.
pub(super) async fn run(cluster: &Cluster, args: &AppendArgs) -> anyhow::Result<()> {
    let (free, needed) = (
        machine::free_bytes(cluster.folder())?,
        args.events * DISK_AN_EVENT + DISK_WAL,
    );
    anyhow::ensure!(
        free > needed,
        "{} GiB are free, {} GiB are needed",
        free >> 30,
        needed >> 30
    );
    let level = args.levels.last().copied().unwrap_or(512);
    statements::reset(cluster, args).await?;
    let store = Store::open(cluster, args).await?;
    let extras = Extras {
        claims: true,
        keys_percent: args.keys_percent,
    };
    let gauge = Gauge::new();
    let mut writers: JoinSet<anyhow::Result<()>> = (0..level)
        .map(|number| store.writer(number, extras, gauge.clone()))
        .collect();
    say(&format!(
        "ours, claims and {} % keys, {level} concurrent commands, to {} events\n\n{}\n",
        args.keys_percent,
        args.events,
        "  events   events/s   p50 ms   p99 ms   max ms   batch  sessions µs  server µs  program µs  \
         WAL B  table MB  index MB  stream MB  checkpoints  others"
    ))?;
    let mut admin = PgConnection::connect_with(&cluster.options(MEASURED)).await?;
    let deadline = Instant::now() + Duration::from_secs(60 * args.minutes_max);
    gauge.measure();
    let mut before = Snapshot::take(cluster, &mut admin, &gauge).await?;
    while before.events < args.events && Instant::now() < deadline {
        let goal = before.events + STEP.min(args.events);
        while gauge.done() < goal && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
            if let Some(ended) = writers.try_join_next() {
                ended??;
            }
        }
        let now = Snapshot::take(cluster, &mut admin, &gauge).await?;
        say(&now.line_since(&before))?;
        before = now;
    }
    gauge.stop();
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    admin.close().await?;
    store.close().await;
    statements::show(cluster, args).await
}

struct Snapshot {
    at: Instant,
    events: u64,
    micros: hdrhistogram::Histogram<u64>,
    batches: super::cell::Batches,
    cpu: CpuTimes,
    sizes: Sizes,
}

impl Snapshot {
    async fn take(
        cluster: &Cluster,
        admin: &mut PgConnection,
        gauge: &Gauge,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            sizes: sqlx::query_as(SIZES).fetch_one(admin).await?,
            at: Instant::now(),
            events: gauge.done(),
            micros: gauge.take_micros(),
            batches: ours::batches(),
            cpu: CpuTimes::read(cluster.pid(), MEASURED)?,
        })
    }

    fn line_since(&self, before: &Self) -> String {
        let seconds = (self.at - before.at).as_secs_f64();
        let events = float((self.events - before.events).max(1));
        let cpu = self.cpu.since(before.cpu);
        let millis = |quantile| float(self.micros.value_at_quantile(quantile)) / 1000.0;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / events;
        let Sizes(table, indexes, streams, wal, checkpoints) = self.sizes;
        let wal = float((wal - before.sizes.3).unsigned_abs()) / events;
        format!(
            "{:>8.2} M {:>8.0} {:>8.2} {:>8.2} {:>8.1} {:>7.1} {:>12.1} {:>10.1} {:>11.1} {wal:>6.0} \
             {:>9} {:>9} {:>10} {:>12} {:>7.2}\n",
            float(self.events) / 1e6,
            events / seconds,
            millis(0.5),
            millis(0.99),
            millis(1.0),
            self.batches.average_since(before.batches),
            micros(cpu.backends),
            micros(cpu.server),
            micros(cpu.client),
            table >> 20,
            indexes >> 20,
            streams >> 20,
            checkpoints - before.sizes.4,
            cpu.others().as_secs_f64() / seconds,
        )
    }
}
