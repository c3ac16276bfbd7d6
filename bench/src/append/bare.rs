//! The bare multi-row insert: the same rows into the same table with the same indexes, as many in
//! one statement as ours had in a batch, each statement its own transaction, on as many connections
//! as ours has lanes. No head, no lock, no judge, no stream row: what this PostgreSQL can do at
//! most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use testkit::Cluster;

use super::AppendArgs;
use super::cell::{self, Batches, Cell, Contender};
use super::databases::{MEASURED, OURS};
use super::rows::{Columns, Log, Texts};
use crate::figure::float;
use crate::gauge::Gauge;
use crate::people::People;

/// Measures it once, with `batch` events in a statement.
///
/// # Errors
/// Of the server.
pub(super) async fn run(
    cluster: &Cluster,
    args: &AppendArgs,
    level: u16,
    batch: usize,
) -> anyhow::Result<Cell> {
    cluster.fresh(MEASURED, OURS).await?;
    let gauge = Gauge::new();
    let transactions = Arc::new(AtomicU64::new(0));
    let texts = Arc::new(Texts::new()?);
    // A single command can keep only one lane busy.
    let connections = args.lanes.min(level);
    let writers = (0..connections).map(|number| {
        let partitions = (number..args.partitions)
            .step_by(usize::from(args.lanes))
            .collect();
        let writer = Writer {
            number: usize::from(number),
            batch,
            partitions,
            options: cluster.options(MEASURED),
            gauge: gauge.clone(),
            transactions: Arc::clone(&transactions),
            texts: Arc::clone(&texts),
        };
        on_own_thread(writer)
    });
    let rows = float(u64::try_from(batch)?);
    let batches = || {
        let transactions = float(transactions.load(Ordering::Relaxed));
        Batches {
            events: rows * transactions,
            transactions,
        }
    };
    cell::measure(
        cluster,
        args,
        (Contender::Bare, level),
        batches,
        writers,
        &gauge,
    )
    .await
}

/// As a lane: a thread with a runtime of its own.
async fn on_own_thread(writer: Writer) -> anyhow::Result<()> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(writer.run())
    };
    tokio::task::spawn_blocking(run)
        .await
        .context("a writer panicked")?
}

struct Writer {
    number: usize,
    batch: usize,
    partitions: Vec<u16>,
    options: PgConnectOptions,
    gauge: Gauge,
    transactions: Arc<AtomicU64>,
    texts: Arc<Texts>,
}

impl Writer {
    async fn run(self) -> anyhow::Result<()> {
        let mut connection = self.options.connect().await?;
        let mut logs: Vec<Log> = self
            .partitions
            .iter()
            .map(|number| Log::new(*number))
            .collect();
        let mut people = People::new(u64::try_from(self.number)?);
        let rows = u64::try_from(self.batch)?;
        while self.gauge.runs() {
            let begun = Instant::now();
            let mut columns = Columns::default();
            for index in 0..self.batch {
                // In runs, as a batch that is sorted by partition has them.
                let log = &mut logs[index * self.partitions.len() / self.batch];
                log.next(&mut people, &self.texts, &mut columns);
            }
            columns.insert(&mut connection, &self.texts).await?;
            self.transactions.fetch_add(1, Ordering::Relaxed);
            self.gauge.note(self.number, begun, rows);
            logs.rotate_left(1);
        }
        connection.close().await.context("closing")
    }
}
