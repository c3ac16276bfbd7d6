//! How far Kafka is behind the store, of the partitions that this process holds.

use events::Partition;
use sqlx::Row as _;

use super::{Relay, lock, metrics};

const READ_LAG: &str = "
select mark.partition, head.position - mark.position,
    coalesce(extract(epoch from clock_timestamp() - event.recorded_at), 0)::float8
from unnest($1, $2) as mark(partition, position)
join event_store.partition_head as head on head.partition = mark.partition
left join event_store.event
    on event.partition = mark.partition and event.position = mark.position + 1";

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
        let marks = held
            .iter()
            .map(|&partition| lock(&self.slot(partition).told).mark);
        let marks: Vec<_> = marks.flatten().collect();
        let rows = sqlx::query(READ_LAG)
            .bind(
                marks
                    .iter()
                    .map(|mark| mark.partition.as_i32())
                    .collect::<Vec<_>>(),
            )
            .bind(marks.iter().map(|mark| mark.position).collect::<Vec<_>>())
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
