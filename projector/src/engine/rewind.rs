//! After a crash of PostgreSQL a checkpoint may stand further back than this daemon moved it,
//! because batches commit asynchronously, and its rows with it. A fence would find that with the
//! next batch; a partition without new events has no next batch, so somebody must look.

use events::Partition;

use super::Engine;
use super::checkpoint::CheckpointKey;

const READ_POSITIONS: &str = "
select c.position
from unnest($1::text[], $2::integer[], $3::integer[])
    with ordinality as k(projection, generation, partition, place)
join projection.checkpoint as c using (projection, generation, partition)
order by k.place";

impl Engine {
    /// Lets go of every cursor whose checkpoint went back: the next step begins at what the
    /// checkpoint says. Whatever is in a step just now is left to its fence.
    pub(crate) async fn find_rewound(&self) -> Result<(), sqlx::Error> {
        // In this order: positions only rise, unless rows were lost in between.
        let stand = self.inner.partitions.iter().filter_map(|partition| {
            let cursors = self.slot(partition).cursors.try_lock().ok()?;
            Some(
                cursors
                    .iter()
                    .map(|cursor| (cursor.key, cursor.position))
                    .collect::<Vec<_>>(),
            )
        });
        let remembered: Vec<(CheckpointKey, i64)> = stand.flatten().collect();
        let told = self.positions_of(&remembered).await?;
        if told.len() != remembered.len() {
            // A generation was dropped meanwhile; the next look finds the rest.
            return Ok(());
        }
        for ((key, remembered), told) in remembered.into_iter().zip(told) {
            if told < remembered {
                tracing::warn!(
                    projection = key.projection,
                    partition = key.partition.0,
                    from = remembered,
                    to = told,
                    "the checkpoint of partition {} went back: PostgreSQL has crashed",
                    key.partition
                );
                self.let_go(key).await;
            }
        }
        Ok(())
    }

    async fn positions_of(&self, keys: &[(CheckpointKey, i64)]) -> Result<Vec<i64>, sqlx::Error> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let column = |of: fn(&CheckpointKey) -> i32| -> Vec<i32> {
            keys.iter().map(|(key, _)| of(key)).collect()
        };
        let projections: Vec<&str> = keys.iter().map(|(key, _)| key.projection).collect();
        sqlx::query_scalar(READ_POSITIONS)
            .bind(projections)
            .bind(column(|key| key.generation))
            .bind(column(|key| key.partition.as_i32()))
            .fetch_all(&self.inner.pool)
            .await
    }

    async fn let_go(&self, key: CheckpointKey) {
        let partition: Partition = key.partition;
        self.slot(partition)
            .cursors
            .lock()
            .await
            .retain(|cursor| cursor.key != key);
        self.wake(partition);
    }
}
