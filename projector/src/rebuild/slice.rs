//! One partition from its first event to the cut: folded in memory and copied in one transaction
//! with its checkpoint, so it is there wholly or not at all. What cannot be folded so (a poison
//! event, more rows than the memory may hold, a projection without such a fold) is applied in
//! batches instead.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use event_store::digest::Digest;
use event_store::store_info::HeadInfo;
use event_store::{ReadError, Stretch};
use read_model::projection::{BulkFold, Target};

use super::Run;
use super::error::{RebuildError, Refusal};
use super::follow::Follower;
use crate::engine::checkpoint::{self, Move};
use crate::engine::proof::Proof;

/// A fold on its way: what it holds, up to where, and what proves it.
struct Bulk {
    fold: Box<dyn BulkFold>,
    proof: Proof,
    last: Option<Last>,
}

/// The last event that was folded.
#[derive(Clone, Copy)]
struct Last {
    position: i64,
    recorded_at: DateTime<Utc>,
}

/// A stretch after it was folded.
enum Folded {
    Clean(Bulk),
    /// There is an event in it that must be parked.
    Poison,
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
        let Some(Last {
            position,
            recorded_at,
        }) = bulk.last
        else {
            return Ok(());
        };
        self.prove(head, position, bulk.proof.digest)?;
        let key = self.key(head.partition);
        let moved = Move {
            from: 0,
            epoch: self.lease.checkpoint_epoch(),
            to: position,
            incarnation: head.incarnation,
            recorded_at,
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
    /// be parked. Stretches are read ahead, and folded on threads of their own.
    async fn fold(
        &self,
        fold: Box<dyn BulkFold>,
        head: &HeadInfo,
        to: i64,
    ) -> Result<Option<Bulk>, RebuildError> {
        let settings = self.rebuild.settings;
        let bytes_max = settings.memory_bytes / settings.parallelism.max(1);
        let reader = &self.rebuild.reader;
        let mut stretches = reader.read_stretches(head.partition, 0, to, settings.range_events);
        let mut bulk = Bulk {
            fold,
            proof: Proof::default(),
            last: None,
        };
        let mut at = 0;
        while let Some(stretch) = stretches.recv().await {
            self.throttle.pass(&self.rebuild.progress).await;
            let stretch = stretch?;
            let length = stretch.len();
            let folded = tokio::task::spawn_blocking(move || bulk.take(&stretch)).await;
            bulk = match folded {
                Ok(Ok(Folded::Clean(folded))) => folded,
                Ok(Ok(Folded::Poison)) => return Ok(self.poisoned(at)),
                Ok(Err(error)) => return Err(error.into()),
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

    /// At a head, whose digest the append kept with its position, the digests must be the same.
    /// What has proven itself may be shown.
    pub(super) fn prove(
        &self,
        head: &HeadInfo,
        position: i64,
        computed: Digest,
    ) -> Result<(), RebuildError> {
        if position != head.position {
            return Ok(());
        }
        if computed != head.digest {
            return Err(RebuildError::Refused(Refusal::Digest {
                partition: head.partition,
                position,
                computed,
                kept: head.digest,
            }));
        }
        self.proven[head.partition.index()].fetch_max(position, Ordering::Relaxed);
        Ok(())
    }

    /// What was folded counts for nothing: it is read again in batches.
    fn poisoned(&self, folded: i64) -> Option<Bulk> {
        self.rebuild.progress.take_back(folded);
        None
    }
}

impl Bulk {
    fn take(mut self, stretch: &Stretch) -> Result<Folded, ReadError> {
        for event in stretch.events() {
            let event = event?;
            if self.fold.fold(event).is_err() {
                return Ok(Folded::Poison);
            }
            self.proof.add_applied(event);
            self.last = Some(Last {
                position: event.address.position,
                recorded_at: event.recorded_at,
            });
        }
        Ok(Folded::Clean(self))
    }
}
