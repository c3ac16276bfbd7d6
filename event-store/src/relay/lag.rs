//! How far Kafka is behind the store, of the partitions that this process holds.

use events::Partition;
use sqlx::Row as _;

use super::{Relay, lock, metrics};

const READ_LAG: &str = "
select mark.partition, head.position - coalesce(mark.position, lease.relayed_position),
    coalesce(extract(epoch from clock_timestamp() - event.recorded_at), 0)::float8
from unnest($1::integer[], $2::bigint[]) as mark(partition, position)
join event_store.partition_head as head on head.partition = mark.partition
join event_store.relay_lease as lease on lease.partition = mark.partition
left join event_store.event
    on event.partition = mark.partition and event.position = coalesce(mark.position, lease.relayed_position) + 1";

impl Relay {
    /// Shows the lag once; a loop does so all the time.
    ///
    /// # Errors
    /// The database's.
    pub async fn tell_lag(&self) -> Result<(), sqlx::Error> {
        let held = self.partitions_held();
        for &partition in &self.inner.partitions {
            if !held.contains(&partition) {
                metrics::forget(partition);
            }
        }
        // Without a mark nothing was sent yet: Kafka may be away since before this process began.
        let position = |&partition: &Partition| {
            let mark = lock(&self.slot(partition).told).mark;
            mark.map(|mark| mark.position)
        };
        let positions: Vec<Option<i64>> = held.iter().map(position).collect();
        let partitions: Vec<i32> = held.iter().map(|one| one.as_i32()).collect();
        let rows = sqlx::query(READ_LAG)
            .bind(partitions)
            .bind(positions)
            .fetch_all(&self.inner.pool)
            .await?;
        for row in rows {
            let (partition, events): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
            let label = partition.to_string();
            let seconds: f64 = row.try_get(2)?;
            metrics::LAG_EVENTS
                .with_label_values(&[&label])
                .set(events.max(0));
            metrics::LAG_SECONDS
                .with_label_values(&[&label])
                .set(seconds.max(0.));
        }
        for partition in held
            .iter()
            .map(|partition: &Partition| partition.0.to_string())
        {
            metrics::HELD.with_label_values(&[&partition]).set(1);
        }
        Ok(())
    }
}
