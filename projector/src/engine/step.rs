//! One step at a time: move a partition by what its source gives. The loops in
//! [`super::run`] call these; so do tests, which therefore never sleep.

use std::collections::BTreeSet;
use std::time::Instant;

use events::{Address, Partition};
use tracing::Instrument as _;

use super::batch::Pace;
use super::checkpoint;
use super::continuity::continue_from;
use super::cursor::{Batch, BatchEnd, Cursor};
use super::plan::Task;
use super::repair::Bench;
use super::source::{Ask, Stretch};
use super::{Engine, metrics, trace};

/// What a step came to. Of several cursors the most telling one counts: work done, then trouble,
/// then nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Idle,
    /// So many events were applied or parked, summed over the projections.
    Applied {
        /// How many.
        events: u64,
    },
    /// Another daemon holds the lease, or the checkpoint is void: this cursor stopped.
    Fenced,
    /// A projection would park too many keys and stopped.
    Suspect,
    /// The database or the source is in trouble; the same is tried again later.
    Trouble,
}

impl Outcome {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Applied { events: a }, Self::Applied { events: b }) => {
                Self::Applied { events: a + b }
            }
            (applied @ Self::Applied { .. }, _) | (_, applied @ Self::Applied { .. }) => applied,
            (Self::Idle, other) => other,
            (first, _) => first,
        }
    }
}

impl Engine {
    /// Looks at leases, generations, control rows and heads, and then moves every partition by one
    /// stretch.
    pub async fn step(&self) -> Outcome {
        let mut outcome = match self.attend().await {
            Ok(()) => Outcome::Idle,
            Err(error) => {
                tracing::warn!(error = %error, "leases and generations could not be tended");
                Outcome::Trouble
            }
        };
        if let Err(error) = self.look_at_heads().await {
            tracing::debug!(error = %error, "the heads could not be read");
        }
        for partition in self.inner.partitions.iter() {
            outcome = outcome.and(self.step_partition(partition).await);
        }
        outcome
    }

    /// Moves the cursors of one partition by one stretch of its source.
    pub async fn step_partition(&self, partition: Partition) -> Outcome {
        let mut cursors = self.slot(partition).cursors.lock().await;
        let tasks = self.plan().tasks(&self.inner.projections, partition);
        cursors.retain(|cursor| {
            tasks
                .iter()
                .any(|task| task.key == cursor.key && task.epoch == cursor.epoch)
        });
        let mut outcome = Outcome::Idle;
        for task in tasks {
            if !cursors.iter().any(|cursor| cursor.key == task.key) {
                match self.begin(task).await {
                    Ok(Some(cursor)) => cursors.push(cursor),
                    Ok(None) => outcome = outcome.and(Outcome::Fenced),
                    Err(error) => {
                        self.log_trouble(task.key.projection, partition, &*error);
                        outcome = outcome.and(Outcome::Trouble);
                    }
                }
            }
        }
        let now = Instant::now();
        let mut due: Vec<&mut Cursor> = cursors
            .iter_mut()
            .filter(|cursor| cursor.is_due(now) && self.plan().allows(cursor.key))
            .collect();
        due.sort_by_key(|cursor| cursor.position);
        // Cursors that stand at the same position share one read; one that is behind reads by
        // itself until it has come up.
        let mut rest = due.as_mut_slice();
        while let Some(first) = rest.first() {
            let position = first.position;
            let length = rest.partition_point(|cursor| cursor.position == position);
            let (group, later) = rest.split_at_mut(length);
            outcome = outcome.and(self.feed(partition, group).await);
            rest = later;
        }
        if let Some(least) = cursors.iter().map(|cursor| cursor.position).min() {
            self.inner.source.applied(partition, least);
        }
        let lost: BTreeSet<_> = cursors
            .iter()
            .filter(|cursor| cursor.is_lost())
            .map(|cursor| cursor.key)
            .collect();
        if !lost.is_empty() {
            cursors.retain(|cursor| !lost.contains(&cursor.key));
            self.inner.attention.notify_one();
        }
        outcome
    }

    /// A cursor for a task, if its lease is still ours.
    async fn begin(
        &self,
        task: Task,
    ) -> Result<Option<Cursor>, Box<dyn std::error::Error + Send + Sync>> {
        let (pool, revision) = (&self.inner.pool, task.projection.revision());
        let owner = self.inner.owner;
        let adopted = checkpoint::adopt(pool, task.key, revision, owner, task.epoch).await?;
        if adopted.is_none() {
            return Ok(None);
        }
        let bench = Bench {
            pool,
            reader: &self.inner.reader,
            projection: task.projection,
            generation: task.key.generation,
        };
        let retried = bench.retry_unknown_versions(task.key).await?;
        if retried.applied > 0 {
            tracing::info!(
                projection = task.key.projection,
                events = retried.applied,
                "events that an older binary did not know were applied"
            );
        }
        let Some(from) = checkpoint::read(pool, task.key).await? else {
            return Ok(None);
        };
        let settings = self.inner.settings;
        let pace = Pace::new(settings.batch.events_max, settings.lease);
        let mut cursor = Cursor::new(task.key, task.projection, from, task.epoch, pace);
        cursor.load_parked(pool, from.parked_version).await?;
        self.tell_parked(&cursor);
        Ok(Some(cursor))
    }

    /// Reads once and moves every cursor of the group, which all stand at the same position.
    async fn feed(&self, partition: Partition, group: &mut [&mut Cursor]) -> Outcome {
        let Some(first) = group.first() else {
            return Outcome::Idle;
        };
        let paces = group.iter().map(|cursor| cursor.pace.events());
        let ask = Ask {
            partition,
            after: first.position,
            limit: paces.max().unwrap_or(1),
            kafka_offset: first.kafka_offset,
            log: self.log(),
        };
        let stretch = match self.read(ask).await {
            Ok(stretch) => stretch,
            Err(error) => {
                let mut outcome = Outcome::Idle;
                for cursor in group {
                    cursor.back_off();
                    self.log_trouble(cursor.key.projection, partition, &*error);
                    outcome = Outcome::Trouble;
                }
                return outcome;
            }
        };
        let mut outcome = Outcome::Idle;
        for cursor in group {
            let span = tracing::info_span!(
                "apply",
                projection = cursor.key.projection,
                partition = partition.0,
                events = stretch.events.len()
            );
            if !stretch.events.is_empty() {
                trace::link(&span, &stretch.events);
            }
            outcome = outcome.and(self.move_cursor(cursor, &stretch).instrument(span).await);
        }
        outcome
    }

    async fn read(&self, ask: Ask) -> Result<Stretch, Box<dyn std::error::Error + Send + Sync>> {
        let (partition, after) = (ask.partition, ask.after);
        let stretch = self.inner.source.read(ask.clone()).await?;
        if stretch.head < after {
            let message = format!(
                "the checkpoint {partition}:{after} is above the head {}: the store lost its tail; \
                 see `projector store fork`",
                stretch.head
            );
            return Err(message.into());
        }
        let continued = continue_from(&ask, stretch.events, &self.inner.store).await?;
        metrics::DUPLICATES_DROPPED.inc_by(continued.duplicates_dropped);
        metrics::HOLES_FILLED.inc_by(continued.holes_filled);
        if continued.holes_filled > 0 {
            tracing::warn!(
                partition = partition.0,
                after,
                "a hole was filled from the store"
            );
        }
        if self.log().current() < stretch.incarnation {
            let log = event_store::incarnation::load_log(&self.inner.pool).await?;
            self.plan().set_log(log);
        }
        Ok(Stretch {
            events: continued.events,
            ..stretch
        })
    }

    /// Applies a stretch in as many batches as it needs.
    async fn move_cursor(&self, cursor: &mut Cursor, stretch: &Stretch) -> Outcome {
        let address = Address {
            partition: cursor.key.partition,
            position: cursor.position,
        };
        let log = self.log();
        if log.current() < stretch.incarnation {
            // Two looks at the log ended in the other order. An older log cannot tell what is
            // void, and the batch would hide it by its newer label; the next read looks again.
            return Outcome::Trouble;
        }
        if log.is_void(cursor.incarnation, address) {
            tracing::error!(
                projection = cursor.key.projection,
                generation = cursor.key.generation,
                "the store lost what the checkpoint {address} says: a new generation will be filled"
            );
            cursor.lose();
            return Outcome::Fenced;
        }
        let mut outcome = Outcome::Idle;
        let mut rest = stretch.events.as_slice();
        while !rest.is_empty() && !self.inner.stopping.is_cancelled() {
            let count = cursor.cut(rest, self.inner.settings.batch);
            let (events, later) = rest.split_at(count);
            let batch = Batch {
                events,
                incarnation: stretch.incarnation,
                // Only the stretch's end is known in Kafka.
                kafka_offset: stretch.kafka_offset.filter(|_| later.is_empty()),
            };
            match self.move_by(cursor, stretch, batch).await {
                Ok(applied @ Outcome::Applied { .. }) => outcome = outcome.and(applied),
                Ok(other) => return outcome.and(other),
                Err(error) => {
                    let wait = cursor.back_off();
                    self.log_trouble(cursor.key.projection, cursor.key.partition, &error);
                    tracing::debug!(wait_ms = wait.as_millis(), "backing off");
                    return outcome.and(Outcome::Trouble);
                }
            }
            rest = later;
        }
        outcome
    }

    /// One batch. An attempt that was not answered is resolved before another begins.
    async fn move_by(
        &self,
        cursor: &mut Cursor,
        stretch: &Stretch,
        batch: Batch<'_>,
    ) -> Result<Outcome, sqlx::Error> {
        if cursor.is_unanswered() {
            return self.read_again(cursor).await;
        }
        let begun = Instant::now();
        let parked_keys_max = self.inner.settings.parked_keys_max;
        let pool = &self.inner.pool;
        let end = cursor.commit_batch(pool, batch, parked_keys_max).await?;
        match end {
            BatchEnd::Committed {
                batch: committed,
                parked,
            } => {
                self.plan().suspect(cursor.key, false);
                self.tell_committed(cursor, stretch, batch.events, begun.elapsed());
                if parked > 0 {
                    self.tell_parked(cursor);
                }
                self.publish(&committed);
                let events = u64::try_from(batch.events.len()).unwrap_or(u64::MAX);
                Ok(Outcome::Applied { events })
            }
            BatchEnd::Unexpected | BatchEnd::ParkedChanged => self.read_again(cursor).await,
            BatchEnd::Suspect => {
                self.plan().suspect(cursor.key, true);
                cursor.back_off();
                tracing::error!(
                    projection = cursor.key.projection,
                    partition = cursor.key.partition.0,
                    parked_keys_max,
                    "{} would park more than {parked_keys_max} keys of partition {}: \
                     it stops, the deploy is suspect",
                    cursor.key.projection,
                    cursor.key.partition
                );
                Ok(Outcome::Suspect)
            }
        }
    }

    /// Follows the checkpoint: another's epoch stops the cursor, a new position means that the
    /// batch had committed, otherwise the cursor goes on from what it says.
    async fn read_again(&self, cursor: &mut Cursor) -> Result<Outcome, sqlx::Error> {
        let now = checkpoint::read(&self.inner.pool, cursor.key).await?;
        let Some(now) = now.filter(|now| now.epoch == cursor.epoch) else {
            tracing::warn!(
                projection = cursor.key.projection,
                partition = cursor.key.partition.0,
                epoch = cursor.epoch,
                "partition {} is another daemon's now",
                cursor.key.partition
            );
            cursor.lose();
            return Ok(Outcome::Fenced);
        };
        let events = now.position.abs_diff(cursor.position);
        if let Some(committed) = cursor.read_again(&self.inner.pool, now).await? {
            self.publish(&committed);
        }
        self.tell_parked(cursor);
        self.wake(cursor.key.partition);
        Ok(if events > 0 {
            Outcome::Applied { events }
        } else {
            Outcome::Idle
        })
    }
}
