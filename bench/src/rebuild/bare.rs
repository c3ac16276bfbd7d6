//! What this PostgreSQL gives at most: the same ranges of the same events, read one after another
//! on as many connections, and nothing done with them.

use std::time::Instant;

use event_store::EventStore;
use event_store::partition_reader::Head;
use events::Partition;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use projector::rebuild::RebuildSettings;
use sqlx::{PgPool, Row as _};

use super::rate;

/// As the partition reader's own statement.
const READ_RANGE: &str = "
select event.partition, event.position, event.stream_no, event.sequence, event.event_id,
    event.tenant_id, event.aggregate_type, event.aggregate_id, event.routing_key, event.event_type,
    event.event_version, event.payload, event.metadata, event.recorded_at
from event_store.event
where event.partition = $1 and event.position > $2 and event.position <= $3
order by event.position";

/// Rows a second, of which only the position is looked at.
pub(super) async fn rows(
    pool: &PgPool,
    heads: &[Head],
    settings: RebuildSettings,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let partitions = partitions(heads).map(|(partition, head)| {
        let pool = pool.clone();
        tokio::spawn(async move { read_rows(&pool, partition, head, settings).await })
    });
    let read: Vec<usize> = stream::iter(partitions)
        .buffer_unordered(settings.parallelism)
        .map(|joined| joined?)
        .try_collect()
        .await?;
    Ok(rate(read.iter().sum(), begun.elapsed().as_secs_f64()))
}

async fn read_rows(
    pool: &PgPool,
    partition: Partition,
    head: i64,
    settings: RebuildSettings,
) -> anyhow::Result<usize> {
    let mut connection = pool.acquire().await?;
    let (mut at, mut read) = (0, 0);
    while at < head {
        let upto = head.min(at + i64::from(settings.range_events));
        let mut rows = sqlx::query(READ_RANGE)
            .bind(partition.as_i32())
            .bind(at)
            .bind(upto)
            .fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            at += 1;
            read += 1;
            anyhow::ensure!(row.try_get::<i64, _>(1)? == at, "a position is missing");
        }
        drop(rows);
        anyhow::ensure!(at == upto, "a range ended early");
    }
    Ok(read)
}

/// The same through the partition reader, as events.
pub(super) async fn decoded(
    store: &EventStore,
    heads: &[Head],
    settings: RebuildSettings,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let partitions = partitions(heads).map(|(partition, head)| {
        let reader = store.partition_reader();
        tokio::spawn(async move {
            let mut read = 0;
            let mut ranges = reader.read_ahead(partition, 0, head, settings.range_events);
            while let Some(range) = ranges.recv().await {
                read += range?.len();
            }
            anyhow::Ok(read)
        })
    });
    let read: Vec<usize> = stream::iter(partitions)
        .buffer_unordered(settings.parallelism)
        .map(|joined| joined?)
        .try_collect()
        .await?;
    Ok(rate(read.iter().sum(), begun.elapsed().as_secs_f64()))
}

fn partitions(heads: &[Head]) -> impl Iterator<Item = (Partition, i64)> {
    let numbered = (0_u16..).zip(heads);
    numbered.map(|(number, head)| (Partition(number), head.position))
}
