//! Ours: the group commit, with the entries that command-api makes.

use event_store::{AppendSettings, Appender, EventStore};
use events::PartitionCount;
use sqlx::postgres::PgPoolOptions;

use super::AppendArgs;
use super::cell::{self, Batches, Cell, Contender};
use super::databases::{MEASURED, OURS};
use super::writer::{Extras, Writer};
use crate::cluster::Cluster;
use crate::gauge::Gauge;

/// What command-api writes beside an event: the request, its trace and who asked.
pub(super) const METADATA: [(&str, &str); 3] = [
    ("request_id", "0193e5c4-7a01-7c3e-9b52-0d4f6a1e2b3c"),
    (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    ("principal", "0193e5c4-7a01-7c3e-9b52-aaaaaaaaaaaa"),
];

const POOL: u32 = 4;

/// The open store with its lanes.
pub(super) struct Store {
    appender: Appender,
    partitions: PartitionCount,
    pool: sqlx::PgPool,
}

impl Store {
    /// Opens a fresh copy.
    ///
    /// # Errors
    /// Of the server.
    pub(super) async fn open(cluster: &Cluster, args: &AppendArgs) -> anyhow::Result<Self> {
        cluster.fresh(MEASURED, OURS).await?;
        let options = cluster.options(MEASURED);
        let pool = PgPoolOptions::new()
            .min_connections(POOL)
            .max_connections(POOL)
            .connect_with(options.clone())
            .await?;
        let store = EventStore::open(pool.clone()).await?;
        let partitions = store.partitions();
        let settings = AppendSettings {
            lanes: args.lanes,
            ..AppendSettings::default()
        };
        let appender = Appender::start(store, options, settings)?;
        Ok(Self {
            appender,
            partitions,
            pool,
        })
    }

    /// Ends the lanes and the pool.
    pub(super) async fn close(self) {
        self.appender.shutdown().await;
        self.pool.close().await;
    }

    /// A writer, which goes on until the gauge stops it.
    pub(super) fn writer(
        &self,
        number: u16,
        extras: Extras,
        gauge: Gauge,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static + use<> {
        let appender = self.appender.clone();
        let writer = Writer::new(number, appender, self.partitions, extras);
        writer.run(usize::from(number), gauge)
    }
}

/// Measures it once.
///
/// # Errors
/// Of the server or of a command.
pub(super) async fn run(
    cluster: &Cluster,
    args: &AppendArgs,
    contender: Contender,
    level: u16,
) -> anyhow::Result<Cell> {
    let extras = match contender {
        Contender::Commands => Extras {
            claims: true,
            keys_percent: args.keys_percent,
        },
        _ => Extras::NONE,
    };
    let store = Store::open(cluster, args).await?;
    let gauge = Gauge::new();
    let writers = (0..level).map(|number| store.writer(number, extras, gauge.clone()));
    let cell = cell::measure(cluster, args, (contender, level), batches, writers, &gauge).await?;
    store.close().await;
    Ok(cell)
}

/// What the lanes put into transactions, as their own metric says.
pub(super) fn batches() -> Batches {
    let families = prometheus::gather();
    let family = families
        .iter()
        .find(|family| family.name() == "append_batch_events");
    let Some(metric) = family.and_then(|family| family.get_metric().first()) else {
        return Batches::default();
    };
    let histogram = metric.get_histogram();
    Batches {
        events: histogram.get_sample_sum(),
        transactions: cell::float(histogram.get_sample_count()),
    }
}
