//! What each contender finds in its database: templates, made once, cloned for each measurement.

use anyhow::Context as _;
use event_store::EventStore;
use events::PartitionCount;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use testkit::Cluster;
use testkit::database::migrations_folder;

/// The template of cqrs-es with postgres-es.
pub(super) const STOCK: &str = "bench_stock";
/// The template of ours, which the bare insert uses, too: the same table with the same indexes.
pub(super) const OURS: &str = "bench_ours";
/// The database that is measured.
pub(super) const MEASURED: &str = "bench_measured";

/// From `db/init.sql` of postgres-es 0.5.0; snapshots and views are not used.
pub(crate) const STOCK_TABLE: &str = "
create table events
(
    aggregate_type text                         not null,
    aggregate_id   text                         not null,
    sequence       bigint check (sequence >= 0) not null,
    event_type     text                         not null,
    event_version  text                         not null,
    payload        json                         not null,
    metadata       json                         not null,
    primary key (aggregate_type, aggregate_id, sequence)
)";

const STATEMENTS: &str = "create extension if not exists pg_stat_statements";

/// Makes the templates.
///
/// # Errors
/// When the server or a migration fails.
pub(super) async fn prepare(cluster: &Cluster, partitions: u16) -> anyhow::Result<()> {
    let partitions = PartitionCount::new(partitions).context("1 to 1024 partitions")?;
    let mut admin = cluster.admin().await?;
    for name in [STOCK, OURS] {
        admin
            .execute(format!("create database {name}").as_str())
            .await?;
    }
    if statements_loaded(&mut admin).await? {
        admin.execute(STATEMENTS).await?;
    }
    admin.close().await?;
    let mut stock = cluster.options(STOCK).connect().await?;
    stock.execute(STOCK_TABLE).await?;
    stock.close().await?;
    let ours = PgPoolOptions::new()
        .connect_with(cluster.options(OURS))
        .await?;
    Migrator::new(migrations_folder())
        .await?
        .run(&ours)
        .await
        .context("migrating")?;
    EventStore::create(&ours, partitions, "bench").await?;
    ours.close().await;
    Ok(())
}

/// Whether the server was started with pg_stat_statements.
///
/// # Errors
/// When the server does not answer.
pub(super) async fn statements_loaded(admin: &mut sqlx::PgConnection) -> anyhow::Result<bool> {
    let loaded: String = sqlx::query_scalar("select current_setting('shared_preload_libraries')")
        .fetch_one(admin)
        .await?;
    Ok(!loaded.is_empty())
}
