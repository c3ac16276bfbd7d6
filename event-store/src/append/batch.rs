//! One attempt of one batch: lock, follow, acquire, judge, write, commit.

use std::time::Duration;

use events::{Address, Partition};
use sqlx::Row as _;
use sqlx::postgres::PgArguments;
use uuid::Uuid;

use super::acquire::Held;
use super::candidate::Candidate;
use super::columns::Columns;
use super::connection::{LaneConnection, Locked};
use super::failure::Failure;
use super::judge::{HeadState, Overlay, Placed};
use super::lane::LaneSettings;
use super::streams::{self, Memory, Tail};
use super::window::{Change, Follow, Window};
use super::write::insert_events;
use crate::entry::{AppendError, Verdict};
use crate::metrics;

const READ_HEADS: &str = "
select head.partition, head.incarnation, head.position
from unnest($1) as own(partition)
join event_store.partition_head as head on head.partition = own.partition
order by head.partition";

/// An entry's verdict, or that it must be decided again.
pub(super) type Answer = Result<Verdict, AppendError>;

/// What an attempt made of a batch, whether it is committed or not.
#[derive(Debug)]
pub(super) struct Judged {
    /// In the order of the candidates.
    pub(super) answers: Vec<Answer>,
    incarnation: i32,
    /// As they are after the batch.
    heads: Vec<HeadState>,
    placed: Vec<Placed>,
    first_event: Option<(Address, Uuid)>,
}

impl Judged {
    /// The partitions whose heads it locked, ascending.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.heads.iter().map(|head| head.partition).collect()
    }

    /// The first address that the batch gave out, and the event that it put there.
    pub(super) fn first_event(&self) -> Option<(Address, Uuid)> {
        self.first_event
    }
}

/// Why an attempt ended without an answer.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// Nothing was committed.
    Failed(Failure),
    /// The answer to the commit was lost.
    CommitUnknown(Box<Judged>, Failure),
}

impl<F: Into<Failure>> From<F> for AttemptError {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// What a lane keeps from batch to batch.
#[derive(Debug)]
pub(super) struct Tails {
    /// By partition number; nothing before the partition's first batch.
    windows: Vec<Option<Window>>,
}

impl Tails {
    pub(super) fn new(lane: &LaneSettings) -> Self {
        let count = usize::from(lane.store.partitions().get());
        Self {
            windows: (0..count).map(|_| None).collect(),
        }
    }

    /// Runs one batch and answers it.
    pub(super) async fn attempt(
        &mut self,
        lane: &LaneSettings,
        connection: &mut LaneConnection,
        candidates: &[&Candidate],
    ) -> Result<Vec<Answer>, AttemptError> {
        let locked = connection.lock_heads(&partitions_of(candidates)).await?;
        self.follow(lane, connection, &locked).await?;
        let live: Vec<_> = candidates
            .iter()
            .filter(|candidate| candidate.entry.mark.incarnation == locked.incarnation)
            .copied()
            .collect();
        let mut overlay = self.overlay(lane, connection, &locked, &live).await?;
        let mut held = Held::of(&live);
        let now = locked
            .heads
            .iter()
            .map(|head| head.recorded_at)
            .max()
            .unwrap_or_default();
        let retention: Duration = lane.append.outcome_retention;
        held.acquire(connection, &mut overlay, now, retention)
            .await?;
        let judged = judge(candidates, &live, &mut overlay);
        if judged.placed.is_empty() && !held.is_changed(&overlay) {
            connection.rollback().await?;
            self.tell(lane, &judged);
            return Ok(judged.answers);
        }
        if !judged.placed.is_empty() {
            insert_events(connection, &live, &overlay, &judged.placed).await?;
        }
        held.settle(connection, &overlay).await?;
        let committed = match judged.placed.is_empty() {
            true => connection.commit().await,
            false => connection.bump_and_commit(&moved(&locked, &judged)).await,
        };
        match committed {
            Ok(()) => Ok(self.enter(lane, candidates, judged)),
            Err(failure) if failure.is_answer() => Err(AttemptError::Failed(failure)),
            Err(failure) => Err(AttemptError::CommitUnknown(Box::new(judged), failure)),
        }
    }

    /// Takes a batch in whose commit is known, and only then: what was rolled back was never there.
    pub(super) fn enter(
        &mut self,
        lane: &LaneSettings,
        candidates: &[&Candidate],
        judged: Judged,
    ) -> Vec<Answer> {
        let in_incarnation =
            |candidate: &&&Candidate| candidate.entry.mark.incarnation == judged.incarnation;
        let live: Vec<_> = candidates.iter().filter(in_incarnation).collect();
        for placed in &judged.placed {
            let key = live[placed.candidate].write_keys()[placed.write];
            let change = Change {
                version: placed.sequence,
                position: placed.position,
            };
            if let Some(window) = &mut self.windows[placed.partition.index()] {
                window.record(placed.number, change, Some(key));
            }
            if lane.hot.wants(placed.partition) {
                let recorded_at = judged.heads[placed.head].recorded_at;
                let event = live[placed.candidate].recorded(placed, recorded_at);
                lane.hot.offer(judged.incarnation, event);
            }
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a batch has far less than 2^52 events"
        )]
        metrics::APPEND_BATCH_EVENTS.observe(judged.placed.len() as f64);
        self.tell(lane, &judged);
        judged.answers
    }

    /// Outside the lock: brings the windows to the heads, so that the next batch finds a short
    /// tail, and wakes who waits for what other nodes append.
    pub(super) async fn follow_idle(
        &mut self,
        lane: &LaneSettings,
        connection: &mut LaneConnection,
    ) -> Result<(), Failure> {
        let own: Vec<i32> = lane.partitions().map(Partition::as_i32).collect();
        let arguments: PgArguments = Columns::of(&own).int4(|partition| *partition)?.arguments();
        let mut seen = Vec::new();
        for row in connection.rows(READ_HEADS, arguments).await? {
            let partition: i32 = row.try_get(0)?;
            let partition =
                Partition::try_from(partition).map_err(|_| Failure::Nonsense("a partition"))?;
            seen.push((partition, row.try_get(1)?, row.try_get(2)?));
        }
        let mut tails = Vec::new();
        for &(partition, incarnation, head) in &seen {
            if self.windows[partition.index()].is_some() {
                tails.extend(self.missing(lane, partition, incarnation, head)?);
            }
        }
        if !tails.is_empty() {
            streams::read_tails(connection, &mut self.windows, &tails).await?;
        }
        see(lane, seen.into_iter());
        Ok(())
    }

    /// Forgets everything: after a panic nobody knows what is half done.
    pub(super) fn forget(&mut self) {
        self.windows.iter_mut().for_each(|window| *window = None);
    }

    /// Under the lock: brings the windows of the batch's partitions to the locked heads.
    async fn follow(
        &mut self,
        lane: &LaneSettings,
        connection: &mut LaneConnection,
        locked: &Locked,
    ) -> Result<(), Failure> {
        let mut tails = Vec::new();
        for head in &locked.heads {
            tails.extend(self.missing(lane, head.partition, locked.incarnation, head.position)?);
        }
        if tails.is_empty() {
            return Ok(());
        }
        streams::read_tails(connection, &mut self.windows, &tails).await
    }

    fn missing(
        &mut self,
        lane: &LaneSettings,
        partition: Partition,
        incarnation: i32,
        head: i64,
    ) -> Result<Option<Tail>, Failure> {
        let fresh = || Window::begin_at(incarnation, head, lane.append.window_streams);
        let window = self.windows[partition.index()].get_or_insert_with(fresh);
        match window.follow(incarnation, head, lane.append.tail_max) {
            Follow::Current => Ok(None),
            Follow::Read { after, upto } => Ok(Some(Tail {
                partition,
                after,
                upto,
            })),
            Follow::Lost => Err(Failure::TailLost),
        }
    }

    async fn overlay(
        &self,
        lane: &LaneSettings,
        connection: &mut LaneConnection,
        locked: &Locked,
        live: &[&Candidate],
    ) -> Result<Overlay, Failure> {
        let memory = Memory {
            incarnation: locked.incarnation,
            windows: &self.windows,
            known: lane.store.known_streams(),
        };
        Ok(Overlay {
            incarnation: locked.incarnation,
            heads: locked.heads.clone(),
            streams: streams::resolve(connection, &memory, live).await?,
            ..Overlay::default()
        })
    }

    fn tell(&self, lane: &LaneSettings, judged: &Judged) {
        metrics::INCARNATION.set(judged.incarnation.into());
        let seen = judged.heads.iter();
        see(
            lane,
            seen.map(|head| (head.partition, judged.incarnation, head.position)),
        );
    }
}

/// Shows heads to whoever waits for them in this process.
fn see(lane: &LaneSettings, seen: impl Iterator<Item = (Partition, i32, i64)>) {
    lane.heads.send_if_modified(|heads| {
        let mut news = false;
        for (partition, incarnation, position) in seen {
            news |= heads.see(incarnation, partition.index(), position);
        }
        news
    });
}

fn judge(candidates: &[&Candidate], live: &[&Candidate], overlay: &mut Overlay) -> Judged {
    let mut placed = Vec::with_capacity(live.len());
    let mut verdicts = Vec::with_capacity(live.len());
    for (index, candidate) in live.iter().enumerate() {
        verdicts.push(overlay.judge(index, candidate, &mut placed));
    }
    let mut verdicts = verdicts.into_iter();
    let answer = |candidate: &&Candidate| {
        let live = candidate.entry.mark.incarnation == overlay.incarnation;
        let verdict = if live { verdicts.next() } else { None };
        verdict.ok_or(AppendError::OtherIncarnation)
    };
    Judged {
        answers: candidates.iter().map(answer).collect(),
        incarnation: overlay.incarnation,
        heads: overlay.heads.clone(),
        first_event: placed.first().map(|first| first_event(live, first)),
        placed,
    }
}

fn first_event(live: &[&Candidate], first: &Placed) -> (Address, Uuid) {
    let event = &live[first.candidate].entry.writes[first.write].events[first.event];
    let address = Address {
        partition: first.partition,
        position: first.position,
    };
    (address, event.event_id)
}

/// The heads that the batch moves.
fn moved(locked: &Locked, judged: &Judged) -> Vec<HeadState> {
    let pairs = locked.heads.iter().zip(&judged.heads);
    let moved = pairs.filter(|(before, after)| before.position != after.position);
    moved.map(|(_, after)| *after).collect()
}

fn partitions_of(candidates: &[&Candidate]) -> Vec<Partition> {
    let mut partitions: Vec<_> = candidates
        .iter()
        .map(|candidate| candidate.entry.partition)
        .collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}
