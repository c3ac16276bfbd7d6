//! One projection at one partition and generation: its cursor in memory, and the transaction that
//! moves it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::RecordedEvent;
use read_model::Applied;
use read_model::projection::{Effects, Projection, Target, Written};
use sqlx::{PgPool, Postgres, Transaction};

use super::batch::{BatchLimits, Pace};
use super::checkpoint::{self, Checkpoint, CheckpointKey, Move};
use super::parked::{self, ParkedEvent, ParkedKeys};
use super::poison::{self, ApplyFailure};
use super::proof::Proof;
use crate::cache::Committed;

/// The rows and the checkpoint are lost together or kept together, and the events are still in the
/// store: so the commit does not wait for the disk. After a crash of PostgreSQL the checkpoint is
/// up to a second older, and so are the rows. A fold reads rows by their keys: plans that were made
/// while the tables of a young generation were empty must not scan them when they are full.
const BEGIN: &str = "begin; set local synchronous_commit = off; set local enable_seqscan = off; \
    set local enable_hashjoin = off; set local enable_mergejoin = off";

/// Parking is an operator's business and is not repeated in the same way: it commits synchronously.
const BEGIN_PARKING: &str = "begin; set local synchronous_commit = on; \
    set local enable_seqscan = off; set local enable_hashjoin = off; \
    set local enable_mergejoin = off";

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How a batch ended.
#[derive(Debug)]
pub(crate) enum BatchEnd {
    /// Rows and checkpoint are committed.
    Committed { batch: Arc<Committed>, parked: u64 },
    /// The checkpoint is not where it was expected, or is another's: it must be read again.
    Unexpected,
    /// The set of parked keys changed under the batch: it must be read again.
    ParkedChanged,
    /// The batch would park more keys than a partition may have.
    Suspect,
}

type Parked = Vec<ParkedEvent>;

enum Attempt {
    End(BatchEnd),
    Poisoned,
}

/// What one transaction applies.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'e> {
    /// They continue the cursor.
    pub(crate) events: &'e [RecordedEvent],
    /// In which they were read.
    pub(crate) incarnation: i32,
    /// Where Kafka goes on behind them, when it gave them.
    pub(crate) kafka_offset: Option<i64>,
}

/// The cursor; its owner is the only one who moves it.
pub(crate) struct Cursor {
    pub(crate) key: CheckpointKey,
    pub(crate) projection: &'static dyn Projection,
    pub(crate) epoch: i64,
    pub(crate) position: i64,
    pub(crate) incarnation: i32,
    /// What the checkpoint says of Kafka.
    pub(crate) kafka_offset: Option<i64>,
    pub(crate) pace: Pace,
    /// Kept by a rebuild.
    pub(crate) proof: Option<Proof>,
    /// Events that an operator gave up before; they have their rows among the parked ones.
    pub(crate) given_up: BTreeSet<i64>,
    parked: ParkedKeys,
    /// A batch whose commit was not answered: it is announced if the checkpoint says that it
    /// happened.
    unanswered: Option<Arc<Committed>>,
    failures: u32,
    not_before: Option<Instant>,
    is_lost: bool,
}

impl Cursor {
    pub(crate) fn new(
        key: CheckpointKey,
        projection: &'static dyn Projection,
        from: Checkpoint,
        epoch: i64,
        pace: Pace,
    ) -> Self {
        Self {
            key,
            projection,
            epoch,
            is_lost: false,
            position: from.position,
            incarnation: from.incarnation,
            kafka_offset: from.kafka_offset,
            pace,
            proof: None,
            given_up: BTreeSet::new(),
            parked: ParkedKeys::default(),
            unanswered: None,
            failures: 0,
            not_before: None,
        }
    }

    /// Reads the parked keys. The version is the checkpoint's from before: keys that are newer than
    /// it are found out by the next fence.
    pub(crate) async fn load_parked(
        &mut self,
        pool: &PgPool,
        version: i64,
    ) -> Result<(), sqlx::Error> {
        let keys = parked::read_keys(pool, self.key).await?;
        self.parked = ParkedKeys { version, keys };
        Ok(())
    }

    /// Another daemon feeds this checkpoint, or nobody may: the cursor is of no more use.
    pub(crate) fn lose(&mut self) {
        self.is_lost = true;
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether the last commit was sent and not answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered.is_some()
    }

    /// How many keys are parked.
    pub(crate) fn parked_keys(&self) -> usize {
        self.parked.keys.len()
    }

    /// Whether it may be tried now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// Notes trouble that passes: the next attempt comes later, each time twice as late.
    pub(crate) fn back_off(&mut self) -> Duration {
        let wait = BACKOFF_MIN
            .saturating_mul(1 << self.failures.min(10))
            .min(BACKOFF_MAX);
        self.failures += 1;
        self.not_before = Some(Instant::now() + wait);
        wait
    }

    /// Follows what the database says after an unexpected or unanswered end. Gives the batch that
    /// had committed after all.
    pub(crate) async fn read_again(
        &mut self,
        pool: &PgPool,
        now: Checkpoint,
    ) -> Result<Option<Arc<Committed>>, sqlx::Error> {
        let unanswered = self.unanswered.take();
        self.position = now.position;
        self.incarnation = now.incarnation;
        self.kafka_offset = now.kafka_offset;
        self.load_parked(pool, now.parked_version).await?;
        Ok(unanswered.filter(|batch| batch.applied.position == now.position))
    }

    /// Applies `batch` in one transaction: rows and checkpoint together.
    pub(crate) async fn commit_batch(
        &mut self,
        pool: &PgPool,
        batch: Batch<'_>,
        parked_keys_max: usize,
    ) -> Result<BatchEnd, sqlx::Error> {
        let begun = Instant::now();
        let mut attempt = self.attempt(pool, batch, None).await;
        if matches!(attempt, Ok(Attempt::Poisoned)) {
            attempt = self.attempt(pool, batch, Some(parked_keys_max)).await;
        }
        if attempt.as_ref().is_err_and(is_statement_timeout) {
            self.pace.halve();
        }
        let attempt = attempt?;
        self.pace.took(begun.elapsed());
        match attempt {
            Attempt::End(end) => {
                self.failures = 0;
                self.not_before = None;
                Ok(end)
            }
            Attempt::Poisoned => Err(sqlx::Error::Protocol(
                "a batch that was sifted cannot be poisoned".to_owned(),
            )),
        }
    }

    /// One transaction. With `parked_keys_max` the poison is sifted out and parked; without it
    /// poison ends the attempt.
    async fn attempt(
        &mut self,
        pool: &PgPool,
        batch: Batch<'_>,
        parked_keys_max: Option<usize>,
    ) -> Result<Attempt, sqlx::Error> {
        let Some(last) = batch.events.last() else {
            return Ok(Attempt::End(BatchEnd::Unexpected));
        };
        let begin = if parked_keys_max.is_some() {
            BEGIN_PARKING
        } else {
            BEGIN
        };
        let mut transaction = pool.begin_with(begin).await?;
        let moved = Move {
            from: self.position,
            epoch: self.epoch,
            to: last.address.position,
            incarnation: batch.incarnation,
            recorded_at: last.recorded_at,
            kafka_offset: batch.kafka_offset,
        };
        let version = checkpoint::advance(&mut transaction, self.key, moved).await?;
        match version {
            None => return end(transaction, BatchEnd::Unexpected).await,
            Some(version) if version != self.parked.version => {
                return end(transaction, BatchEnd::ParkedChanged).await;
            }
            Some(_) => {}
        }
        let (clean, mut parked) = self.set_aside(batch.events);
        let projection = self.projection;
        let mut applied = clean.len();
        let mut effects = match parked_keys_max {
            None => {
                match poison::apply(&mut transaction, projection, self.target(), &clean).await {
                    Ok(effects) => effects,
                    Err(ApplyFailure::Passing(error)) => return Err(error),
                    Err(ApplyFailure::Poison { .. }) => {
                        transaction.rollback().await?;
                        return Ok(Attempt::Poisoned);
                    }
                }
            }
            Some(_) => {
                let sifted =
                    poison::sift(&mut transaction, projection, self.target(), &clean).await?;
                applied -= sifted.parked.len();
                parked.extend(sifted.parked);
                sifted.effects
            }
        };
        let mut keys = self.parked.clone();
        keys.keys
            .extend(parked.iter().map(|event| event.key.clone()));
        if parked_keys_max.is_some_and(|max| keys.keys.len() > max) {
            return end(transaction, BatchEnd::Suspect).await;
        }
        parked::insert(&mut transaction, self.key, &parked).await?;
        effects.written.extend(self.withheld(batch.events, &parked));
        if keys.keys.len() > self.parked.keys.len() {
            keys.version = checkpoint::raise_parked_version(&mut transaction, self.key).await?;
        }
        let proof = self.proof.map(|proof| proof.after(batch.events, applied));
        if let Some(proof) = proof {
            proof.save(&mut transaction, self.key, moved.to).await?;
        }
        let committed = self
            .commit(transaction, moved, keys, effects, &parked)
            .await?;
        self.proof = proof;
        Ok(Attempt::End(committed))
    }

    /// The events that may be applied, and those that wait behind a parked one. Nothing is copied
    /// while nothing is parked.
    fn set_aside<'e>(&self, events: &'e [RecordedEvent]) -> (Cow<'e, [RecordedEvent]>, Parked) {
        if self.parked.keys.is_empty() && self.given_up.is_empty() {
            return (Cow::Borrowed(events), Vec::new());
        }
        let kept = |event: &&RecordedEvent| !self.given_up.contains(&event.address.position);
        let holds = |event: &&RecordedEvent| self.parked.holds(event);
        let (behind, clean): (Vec<_>, Vec<_>) = events.iter().filter(kept).partition(holds);
        let parked = behind.into_iter().map(ParkedEvent::behind).collect();
        (Cow::Owned(clean.into_iter().cloned().collect()), parked)
    }

    /// Of a row whose event is parked nothing may be kept in Redis: when the event is applied after
    /// all, the checkpoint does not move, and a kept row would look as new as the row itself.
    fn withheld(&self, events: &[RecordedEvent], parked: &[ParkedEvent]) -> Vec<Written> {
        let Some(cached) = self.projection.cached() else {
            return Vec::new();
        };
        let positions: BTreeSet<_> = parked.iter().map(|event| event.position).collect();
        let parked = |event: &&RecordedEvent| positions.contains(&event.address.position);
        let touched = events.iter().filter(parked);
        let touched = touched.filter_map(|event| cached.touches(event));
        let gone = |touched| Written { touched, row: None };
        touched.map(gone).collect()
    }

    async fn commit(
        &mut self,
        transaction: Transaction<'static, Postgres>,
        moved: Move,
        keys: ParkedKeys,
        effects: Effects,
        parked: &[ParkedEvent],
    ) -> Result<BatchEnd, sqlx::Error> {
        let applied = Applied {
            projection: self.key.projection,
            generation: self.key.generation,
            partition: self.key.partition,
            position: moved.to,
            touched: effects.touched.into(),
        };
        let batch = Arc::new(Committed {
            applied,
            from: moved.from,
            incarnation: moved.incarnation,
            written: effects.written,
        });
        self.unanswered = Some(Arc::clone(&batch));
        transaction.commit().await?;
        self.unanswered = None;
        self.position = moved.to;
        self.incarnation = moved.incarnation;
        self.kafka_offset = moved.kafka_offset;
        self.parked = keys;
        for event in parked
            .iter()
            .filter(|event| event.reason != parked::Reason::Behind)
        {
            log_parked(self.key, event);
        }
        let parked = u64::try_from(parked.len()).unwrap_or(u64::MAX);
        Ok(BatchEnd::Committed { batch, parked })
    }

    fn target(&self) -> Target {
        Target {
            generation: self.key.generation,
            partition: self.key.partition,
        }
    }

    /// How many of `events` the next batch takes.
    pub(crate) fn cut(&self, events: &[RecordedEvent], limits: BatchLimits) -> usize {
        let limits = BatchLimits {
            events_max: limits.events_max.min(self.pace.events()),
            ..limits
        };
        super::batch::cut(events, limits, self.projection)
    }
}

/// Whether a statement was cancelled because it took too long.
fn is_statement_timeout(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.code().as_deref() == Some("57014"))
}

async fn end(
    transaction: Transaction<'static, Postgres>,
    end: BatchEnd,
) -> Result<Attempt, sqlx::Error> {
    transaction.rollback().await?;
    Ok(Attempt::End(end))
}

fn log_parked(key: CheckpointKey, event: &ParkedEvent) {
    tracing::error!(
        projection = key.projection,
        generation = key.generation,
        partition = key.partition.0,
        position = event.position,
        event_type = event.event_type,
        reason = event.reason.as_str(),
        detail = event.detail,
        "event {}:{} cannot be applied: its key is parked, everything else goes on",
        key.partition,
        event.position
    );
}
