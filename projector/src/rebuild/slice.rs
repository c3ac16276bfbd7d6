//! One partition from its first event to the cut: folded in memory and copied in one transaction
//! with its checkpoint, so it is there wholly or not at all. What cannot be folded so (a poison
//! event, more rows than the memory may hold, a projection without such a fold) is applied in
//! batches instead.

use event_store::digest::Digest;
use event_store::store_info::HeadInfo;
use events::RecordedEvent;
use read_model::projection::{ApplyError, BulkFold, Target};

use super::Run;
use super::error::{RebuildError, Refusal};
use super::follow::Follower;
use crate::engine::checkpoint::{self, Move};
use crate::engine::proof::Proof;

/// A fold on its way: what it holds, up to where, and what proves it.
struct Bulk {
    fold: Box<dyn BulkFold>,
    proof: Proof,
    last: Option<RecordedEvent>,
}

impl Run<'_> {
    /// Brings the partition of `head` up to `to`, which is at most the head.
    pub(super) async fn slice(&self, head: &HeadInfo, to: i64) -> Result<(), RebuildError> {
        let key = self.key(head.partition);
        let at = checkpoint::read(&self.rebuild.pool, key).await?;
        let is_empty = at.is_some_and(|at| at.position == 0);
        if is_empty && to > 0 && self.ground.given_up(head.partition).await?.is_empty() {
            self.bulk(head, to).await?;
        }
        let mut follower = Follower::begin(self, head.partition).await?;
        if follower.position() < to {
            self.ground.add_keys().await?;
            follower.feed_counted(to).await?;
        }
        follower.prove(head)
    }

    /// Folds and copies as much as can be.
    async fn bulk(&self, head: &HeadInfo, to: i64) -> Result<(), RebuildError> {
        let Some(fold) = self.rebuild.projection.bulk() else {
            return Ok(());
        };
        let Some(bulk) = self.fold(fold, head, to).await? else {
            return Ok(());
        };
        let Some(last) = &bulk.last else {
            return Ok(());
        };
        let position = last.address.position;
        prove(head, position, bulk.proof.digest)?;
        let key = self.key(head.partition);
        let moved = Move {
            from: 0,
            epoch: self.lease.checkpoint_epoch(),
            to: position,
            incarnation: head.incarnation,
            recorded_at: last.recorded_at,
            kafka_offset: None,
        };
        let target = Target {
            generation: key.generation,
            partition: key.partition,
        };
        let mut transaction = self.rebuild.pool.begin().await?;
        let partition = key.partition;
        checkpoint::advance(&mut transaction, key, moved)
            .await?
            .ok_or(RebuildError::Moved { partition })?;
        let rows = bulk.fold.copy(&mut transaction, target).await?;
        bulk.proof.save(&mut transaction, key, position).await?;
        transaction.commit().await?;
        let projection = key.projection;
        let partition = key.partition.0;
        tracing::debug!(projection, partition, position, rows, "a slice is copied");
        Ok(())
    }

    /// Folds until `to`, or until the memory is used up; nothing when there is poison, which must
    /// be parked. Ranges are read ahead, and folded on threads of their own.
    async fn fold(
        &self,
        fold: Box<dyn BulkFold>,
        head: &HeadInfo,
        to: i64,
    ) -> Result<Option<Bulk>, RebuildError> {
        let settings = self.rebuild.settings;
        let bytes_max = settings.memory_bytes / settings.parallelism.max(1);
        let reader = &self.rebuild.reader;
        let mut ranges = reader.read_ahead(head.partition, 0, to, settings.range_events);
        let mut bulk = Bulk {
            fold,
            proof: Proof::default(),
            last: None,
        };
        let mut at = 0;
        while let Some(range) = ranges.recv().await {
            self.throttle.pass(&self.rebuild.progress).await;
            let events = range?;
            let length = events.len();
            let folded = tokio::task::spawn_blocking(move || bulk.take(events)).await;
            bulk = match folded {
                Ok(Ok(folded)) => folded,
                Ok(Err(_)) => return Ok(self.poisoned(at)),
                Err(panic) if panic.is_panic() => return Ok(self.poisoned(at)),
                Err(_) => return Err(RebuildError::LeaseLost),
            };
            at += i64::try_from(length).unwrap_or(i64::MAX);
            self.rebuild.progress.add(length);
            if bulk.fold.bytes() > bytes_max {
                return Ok(Some(bulk));
            }
        }
        if at < to {
            let (partition, position) = (head.partition, at);
            return Err(RebuildError::Truncated {
                partition,
                position,
            });
        }
        Ok(Some(bulk))
    }

    /// What was folded counts for nothing: it is read again in batches.
    fn poisoned(&self, folded: i64) -> Option<Bulk> {
        self.rebuild.progress.take_back(folded);
        None
    }
}

impl Bulk {
    fn take(mut self, mut events: Vec<RecordedEvent>) -> Result<Self, ApplyError> {
        self.fold.fold(&events)?;
        self.proof = self.proof.after(&events, events.len());
        self.last = events.pop().or(self.last);
        Ok(self)
    }
}

/// At a head, whose digest the append kept with its position, the digests must be the same.
pub(super) fn prove(head: &HeadInfo, position: i64, computed: Digest) -> Result<(), RebuildError> {
    if position == head.position && computed != head.digest {
        return Err(RebuildError::Refused(Refusal::Digest {
            partition: head.partition,
            position,
            computed,
            kept: head.digest,
        }));
    }
    Ok(())
}
