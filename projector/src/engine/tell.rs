//! What the engine says about itself: to readers in the process, to the metrics and to the log. One
//! function an occurrence.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use events::{Partition, RecordedEvent};
use read_model::Applied;

use super::checkpoint::CheckpointKey;
use super::cursor::Cursor;
use super::source::Stretch;
use super::standing::Standing;
use super::{Engine, metrics, standing};
use crate::cache::{Committed, Queue};

impl Engine {
    /// Tells the lag metrics of what this engine feeds, and how far rebuilds are. What no live
    /// daemon can feed has no lag that anybody could wait for.
    pub(crate) async fn tell_lag(&self) -> Result<(), sqlx::Error> {
        let standings = standing::read(&self.inner.pool, None).await?;
        self.tell_rebuilds(&standings);
        for standing in standings {
            let held = self.plan().holds(&standing.projection);
            let fed_here = held.contains(&Partition(standing.partition));
            if !fed_here || !standing.feedable {
                continue;
            }
            let generation = standing.generation.to_string();
            let partition = standing.partition.to_string();
            let labels = [standing.projection.as_str(), &generation, &partition];
            metrics::POSITION
                .with_label_values(&labels)
                .set(standing.position);
            metrics::LAG_EVENTS
                .with_label_values(&labels)
                .set(standing.lag_events);
            #[expect(clippy::cast_possible_truncation, reason = "an age in whole seconds")]
            let seconds = standing.lag_seconds as i64;
            metrics::LAG_SECONDS.with_label_values(&labels).set(seconds);
        }
        Ok(())
    }

    /// A rebuild is a process of its own without a port, so the daemons tell how far its
    /// checkpoints are; while there is none, nothing is told.
    fn tell_rebuilds(&self, standings: &[Standing]) {
        for projection in &self.inner.projections {
            let labels = [projection.name()];
            let building = standings
                .iter()
                .filter(|one| one.projection == projection.name() && one.state == "building");
            match standing::progress(building) {
                Some(ratio) => metrics::REBUILD_PROGRESS
                    .with_label_values(&labels)
                    .set(ratio),
                // It is an error when there was nothing to remove.
                None => drop(metrics::REBUILD_PROGRESS.remove_label_values(&labels)),
            }
        }
    }

    pub(super) fn publish(&self, batch: &Arc<Committed>) {
        // Nobody needs to listen.
        let _ = self.inner.applied.send(batch.applied.clone());
        let Some(follower) = self.inner.follower.get() else {
            return;
        };
        let Applied {
            projection,
            generation,
            partition,
            ..
        } = batch.applied;
        let key = CheckpointKey {
            projection,
            generation,
            partition,
        };
        if self.plan().is_active(key) {
            follower.push(batch);
        }
    }

    /// Gives every batch of an active generation to the follower behind `queue`, from now on. There
    /// is at most one.
    pub fn set_follower(&self, queue: Queue) {
        // A second one is not fed, as the sentence above says.
        let _ = self.inner.follower.set(queue);
    }

    pub(super) fn tell_committed(
        &self,
        cursor: &Cursor,
        stretch: &Stretch,
        batch: &[RecordedEvent],
        time: Duration,
    ) {
        let key = cursor.key;
        let generation = key.generation.to_string();
        let partition = key.partition.to_string();
        let labels = [key.projection, &generation, &partition];
        metrics::POSITION
            .with_label_values(&labels)
            .set(cursor.position);
        let behind = (stretch.head - cursor.position).max(0);
        metrics::LAG_EVENTS.with_label_values(&labels).set(behind);
        metrics::BATCH_SECONDS
            .with_label_values(&[key.projection])
            .observe(time.as_secs_f64());
        if behind == 0 {
            metrics::LAG_SECONDS.with_label_values(&labels).set(0);
        }
        let source = stretch.fed_by();
        metrics::EVENTS
            .with_label_values(&[key.projection, source])
            .inc_by(u64::try_from(batch.len()).unwrap_or(u64::MAX));
        if self.plan().is_active(key) {
            let lag = metrics::VISIBILITY_LAG.with_label_values(&[source]);
            let now = Utc::now();
            for event in batch {
                let age = (now - event.recorded_at).to_std().unwrap_or_default();
                lag.observe(age.as_secs_f64());
            }
        }
    }

    pub(super) fn tell_parked(&self, cursor: &Cursor) {
        self.plan().parked(cursor.key, cursor.parked_keys());
        let keys = self.plan().parked_keys(cursor.key.projection);
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        metrics::PARKED_KEYS
            .with_label_values(&[cursor.key.projection])
            .set(keys);
    }

    pub(super) fn log_trouble(
        &self,
        projection: &'static str,
        partition: Partition,
        error: &(dyn std::error::Error + 'static),
    ) {
        tracing::warn!(
            projection,
            partition = partition.0,
            error = error,
            "{projection} cannot go on at partition {partition}; it is tried again"
        );
    }
}
