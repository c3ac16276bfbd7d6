//! A partition of the new generation, moved on in batches by the engine's own cursor, which parks
//! what cannot be applied and keeps the proof in the same transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_store::store_info::{self, HeadInfo};
use events::{Partition, RecordedEvent};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Run;
use super::error::{RebuildError, Refusal};
use super::report::PartitionProof;
use crate::engine::batch::Pace;
use crate::engine::checkpoint;
use crate::engine::cursor::{Batch, BatchEnd, Cursor};
use crate::engine::proof::Proof;

/// A round that found less than this left over has caught up; what comes meanwhile is the switch's.
const TAIL_EVENTS_MAX: i64 = 1_000;

/// Rounds of catching up, under whatever load, before the switch is tried all the same.
const CATCH_UP_ROUNDS_MAX: usize = 20;

/// How often the tail is looked at while a switch is tried.
const TAIL_INTERVAL: Duration = Duration::from_millis(5);

const COUNT_PARKED: &str = "
select count(*),
    (array_agg(position order by position) filter (where discarded_at is null))[1],
    (array_agg(reason order by position) filter (where discarded_at is null))[1]
from projection.parked
where projection = $1 and generation = $2 and partition = $3 and position <= $4";

/// The cursor of one partition.
pub(super) struct Follower<'r> {
    run: &'r Run<'r>,
    cursor: Cursor,
    /// The head that it is coming up to.
    head: Option<HeadInfo>,
}

impl<'r> Follower<'r> {
    /// Goes on from the checkpoint.
    pub(super) async fn begin(
        run: &'r Run<'r>,
        partition: Partition,
    ) -> Result<Self, RebuildError> {
        let (pool, key) = (&run.rebuild.pool, run.key(partition));
        let epoch = run.lease.checkpoint_epoch();
        let from = checkpoint::read(pool, key).await?;
        let from = from.filter(|from| from.epoch == epoch);
        let from = from.ok_or(RebuildError::Moved { partition })?;
        let proof = if from.position == 0 {
            Proof::default()
        } else {
            let kept = Proof::read(pool, key).await?;
            kept.ok_or(RebuildError::Moved { partition })?
        };
        let settings = run.rebuild.settings;
        let pace = Pace::new(settings.batch.events_max, settings.lease);
        let mut cursor = Cursor::new(key, run.rebuild.projection, from, epoch, pace);
        cursor.load_parked(pool, from.parked_version).await?;
        cursor.given_up = run.ground.given_up(partition).await?.into_iter().collect();
        cursor.proof = Some(proof);
        Ok(Self {
            run,
            cursor,
            head: None,
        })
    }

    /// Up to where it has come.
    pub(super) fn position(&self) -> i64 {
        self.cursor.position
    }

    pub(super) fn partition(&self) -> Partition {
        self.cursor.key.partition
    }

    fn proof(&self) -> Proof {
        self.cursor.proof.unwrap_or_default()
    }

    /// Whether the digest is the head's, when it stands there.
    pub(super) fn prove(&self, head: &HeadInfo) -> Result<(), RebuildError> {
        self.run.prove(head, self.position(), self.proof().digest)
    }

    /// The same before it is committed, of events that come up to the head.
    fn prove_ahead(&self, events: &[RecordedEvent]) -> Result<(), RebuildError> {
        let last = events.last().map(|last| last.address.position);
        let head = self.head.as_ref();
        let Some(head) = head.filter(|head| Some(head.position) == last) else {
            return Ok(());
        };
        let ahead = self.proof().after(events, 0);
        self.run.prove(head, head.position, ahead.digest)
    }

    /// The same as [`Self::feed`], with progress, and with room made for the live projection.
    pub(super) async fn feed_counted(&mut self, upto: i64) -> Result<(), RebuildError> {
        self.feed_by(upto, true).await
    }

    /// Applies what stands between its position and `upto`, which must be committed.
    pub(super) async fn feed(&mut self, upto: i64) -> Result<(), RebuildError> {
        self.feed_by(upto, false).await
    }

    async fn feed_by(&mut self, upto: i64, counted: bool) -> Result<(), RebuildError> {
        let rebuild = self.run.rebuild;
        let (partition, from) = (self.partition(), self.position());
        let length = rebuild.settings.range_events;
        let mut ranges = rebuild.reader.read_ahead(partition, from, upto, length);
        while let Some(range) = ranges.recv().await {
            let events = range?;
            if counted {
                self.run.throttle.pass(&rebuild.progress).await;
            }
            let mut rest = events.as_slice();
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(self.cursor.cut(rest, rebuild.settings.batch));
                self.apply(batch).await?;
                if counted {
                    rebuild.progress.add(batch.len());
                }
                rest = later;
            }
        }
        let position = self.position();
        if position < upto {
            return Err(RebuildError::Truncated {
                partition,
                position,
            });
        }
        Ok(())
    }

    async fn apply(&mut self, events: &[RecordedEvent]) -> Result<(), RebuildError> {
        self.prove_ahead(events)?;
        let partition = self.partition();
        let rebuild = self.run.rebuild;
        let max = rebuild.settings.parked_keys_max;
        let batch = Batch {
            events,
            incarnation: self.run.cut[partition.index()].incarnation,
            kafka_offset: None,
        };
        let end = self.cursor.commit_batch(&rebuild.pool, batch, max).await?;
        match end {
            BatchEnd::Committed { .. } => Ok(()),
            BatchEnd::Unexpected | BatchEnd::ParkedChanged => {
                Err(RebuildError::Moved { partition })
            }
            BatchEnd::Suspect => Err(Refusal::Suspect { partition, max }.into()),
        }
    }

    /// Comes up to a head that was read just now, and proves itself there.
    async fn come_up(&mut self, head: &HeadInfo) -> Result<i64, RebuildError> {
        if head.incarnation != self.run.cut[self.partition().index()].incarnation {
            return Err(RebuildError::Forked);
        }
        let behind = head.position - self.position();
        self.head = Some(head.clone());
        self.feed(head.position).await?;
        self.prove(head)?;
        Ok(behind)
    }

    /// Whether all that it has passed was applied or parked.
    async fn count(&self) -> Result<PartitionProof, RebuildError> {
        let (key, proof) = (self.cursor.key, self.proof());
        let (partition, position) = (key.partition, self.position());
        let (parked, first, reason): (i64, Option<i64>, Option<String>) =
            sqlx::query_as(COUNT_PARKED)
                .bind(key.projection)
                .bind(key.generation)
                .bind(partition.as_i32())
                .bind(position)
                .fetch_one(&self.run.rebuild.pool)
                .await?;
        if proof.applied + parked != position {
            let applied = proof.applied;
            let refusal = Refusal::Count {
                partition,
                position,
                applied,
                parked,
            };
            return Err(refusal.into());
        }
        Ok(PartitionProof {
            partition: partition.0,
            position,
            applied: proof.applied,
            parked,
            digest: proof.digest.to_string(),
            first_parked: first.map(|at| (format!("{partition}:{at}"), reason.unwrap_or_default())),
        })
    }
}

impl Run<'_> {
    /// Brings every partition to a head that it proves itself at.
    pub(super) async fn catch_up(
        &self,
        followers: &mut [Follower<'_>],
    ) -> Result<(), RebuildError> {
        for _ in 0..CATCH_UP_ROUNDS_MAX {
            if self.come_up(followers).await? <= TAIL_EVENTS_MAX {
                break;
            }
        }
        Ok(())
    }

    /// One round; how many events there were.
    async fn come_up(&self, followers: &mut [Follower<'_>]) -> Result<i64, RebuildError> {
        let heads = store_info::heads(&self.rebuild.pool).await?;
        let coming = followers.iter_mut().zip(&heads);
        let coming = coming.map(|(follower, head)| follower.come_up(head));
        let behind = stream::iter(coming)
            .buffer_unordered(self.rebuild.settings.parallelism)
            .try_collect::<Vec<i64>>()
            .await?;
        Ok(behind.iter().sum())
    }

    /// Keeps every partition at its head until `done`. After the switch a daemon may take one over
    /// before that is said.
    pub(super) async fn follow(
        &self,
        mut followers: Vec<Follower<'_>>,
        done: &AtomicBool,
    ) -> Result<(), RebuildError> {
        while !done.load(Ordering::Relaxed) {
            match self.come_up(&mut followers).await {
                Ok(_) => {}
                Err(RebuildError::Moved { .. }) => {
                    while !done.load(Ordering::Relaxed) {
                        tokio::time::sleep(TAIL_INTERVAL).await;
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(TAIL_INTERVAL).await;
        }
        Ok(())
    }

    /// Whether all events are accounted for.
    pub(super) async fn count(
        &self,
        followers: &[Follower<'_>],
    ) -> Result<Vec<PartitionProof>, RebuildError> {
        let mut proofs = Vec::with_capacity(followers.len());
        for follower in followers {
            proofs.push(follower.count().await?);
        }
        Ok(proofs)
    }
}
