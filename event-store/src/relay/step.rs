//! One step of one partition: resume when there is no stream, else take acknowledgements, send what
//! comes next, or wait for Kafka. Any failure ends the stream, and the next step resumes.

use std::time::Duration;

use events::{Partition, RecordedEvent};
use rdkafka::error::KafkaError;
use tokio::sync::oneshot;

use super::lease::Lease;
use super::stream::Stream;
use super::topic_log::LogError;
use super::{Relay, StopReason, lock, metrics};
use crate::store::ReadError;

/// Events of one read from the store.
const BATCH_MAX: usize = 500;

/// How long a step waits for an acknowledgement.
const ACK_WAIT: Duration = Duration::from_millis(50);

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The partition is another process's.
    NotHeld,
    /// The topic was read back; sending goes on after this position.
    Resumed {
        /// The position.
        after: i64,
    },
    /// So many records were handed to Kafka's client.
    Sent(usize),
    /// Records are on their way.
    Waiting,
    /// Everything is in the topic and acknowledged.
    Idle,
    /// Somebody must put something right first.
    Stopped(StopReason),
    /// Something failed; the next step begins anew.
    Trouble,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("reading the store failed")]
    Read(#[from] ReadError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the topic could not be read back")]
    Log(#[from] LogError),
    #[error("a producer could not be made")]
    Producer(#[source] KafkaError),
    #[error("the record of position {position} was not delivered")]
    Delivery { position: i64, source: KafkaError },
    #[error("position {position} came to offset {offset}, which does not follow on {last}")]
    Offset {
        position: i64,
        offset: i64,
        last: i64,
    },
    #[error("Kafka has not acknowledged position {position} for {silent:?}")]
    Silent { position: i64, silent: Duration },
    #[error("the store has begun another incarnation")]
    Incarnation,
    #[error("the topic does not hold what was acknowledged")]
    Diverged,
}

/// What one partition keeps from step to step.
#[derive(Default)]
pub(super) struct State {
    pub(super) stream: Option<Stream>,
    /// Producers of streams before that are not gone; they may still have records under way.
    pub(super) leaving: Vec<oneshot::Receiver<()>>,
    /// A record was refused: the next producer sends each one by itself.
    pub(super) careful: bool,
    pub(super) stopped: Option<(StopReason, i64)>,
}

impl Relay {
    /// Does one step for a partition.
    pub async fn step(&self, partition: Partition) -> Outcome {
        let mut state = self.slot(partition).state.lock().await;
        let Some(lease) = self.lease(partition) else {
            self.close(partition, &mut state);
            // Whoever holds it now says what is wrong with it.
            lock(&self.slot(partition).told).is_failing = false;
            if state.stopped.is_some() {
                self.recovered(partition, &mut state);
            }
            return Outcome::NotHeld;
        };
        match self.advance(partition, lease, &mut state).await {
            Ok(outcome) => outcome,
            Err(trouble) => self.restart(partition, &mut state, &trouble),
        }
    }

    async fn advance(
        &self,
        partition: Partition,
        lease: Lease,
        state: &mut State,
    ) -> Result<Outcome, Trouble> {
        let stale = |stream: &Stream| stream.epoch != lease.epoch || lease.refill != 0;
        if state.stream.as_ref().is_none_or(stale) {
            return self.resume(partition, lease, state).await;
        }
        let Some(stream) = &mut state.stream else {
            return Ok(Outcome::Trouble);
        };
        if stream.collect()? > 0 {
            self.tell(partition, stream);
        }
        self.compare(partition, lease, stream)?;
        let events = self.next(partition, stream).await?;
        if !events.is_empty() {
            let sent = stream.send(&self.inner.target, self.inner.store_id, &events)?;
            // A full queue takes none: then acknowledgements are waited for.
            if sent > 0 {
                return Ok(Outcome::Sent(sent));
            }
        }
        let outcome = if stream.in_flight() == 0 {
            Outcome::Idle
        } else {
            tokio::select! {
                waited = stream.wait(ACK_WAIT, self.inner.settings.silence_max) => waited?,
                () = self.slot(partition).wake.notified() => {}
            }
            self.tell(partition, stream);
            Outcome::Waiting
        };
        let acked = stream.acked;
        if state.stopped.is_some_and(|(_, position)| acked >= position) {
            self.recovered(partition, state);
        }
        if outcome == Outcome::Idle && state.careful && state.stopped.is_none() {
            // What was refused once has been taken since.
            state.careful = false;
            self.close(partition, state);
        }
        Ok(outcome)
    }

    /// What comes next: from memory when this process has just committed it, else from the store.
    async fn next(
        &self,
        partition: Partition,
        stream: &Stream,
    ) -> Result<Vec<RecordedEvent>, Trouble> {
        let settings = &self.inner.settings;
        let room = settings.in_flight_max.saturating_sub(stream.in_flight());
        let count = room.min(BATCH_MAX);
        if count == 0 {
            self.want(partition, false);
            return Ok(Vec::new());
        }
        let (incarnation, after) = (stream.incarnation, stream.sent);
        if let Some(hot) = &self.inner.hot {
            let events = hot.take(partition, incarnation, after, count);
            if !events.is_empty() {
                count_sent("memory", events.len());
                return Ok(events);
            }
        }
        // Small reads while acknowledgements trickle in would cost more than they bring.
        let worth_it = stream.in_flight() == 0 || room >= settings.in_flight_max.div_ceil(2);
        if !worth_it {
            return Ok(Vec::new());
        }
        if !self.may_be_behind(partition, stream) {
            self.want(partition, true);
            return Ok(Vec::new());
        }
        let limit = u32::try_from(count).unwrap_or(u32::MAX);
        let read = {
            let _permit = self.inner.reads.acquire().await;
            self.inner.reader.read(partition, after, limit).await?
        };
        if read.head.incarnation != incarnation || read.head.position < after {
            return Err(Trouble::Incarnation);
        }
        self.want(partition, read.events.len() < count);
        count_sent("store", read.events.len());
        Ok(read.events)
    }

    /// What the lanes of this process know of the head; without them the store is asked.
    fn may_be_behind(&self, partition: Partition, stream: &Stream) -> bool {
        let Some(heads) = &self.inner.heads else {
            return true;
        };
        let heads = heads.borrow();
        let head = heads.positions[partition.index()];
        head < 0 || heads.incarnation != stream.incarnation || head != stream.sent
    }

    pub(super) fn want(&self, partition: Partition, wanted: bool) {
        if let Some(hot) = &self.inner.hot
            && hot.wants(partition) != wanted
        {
            hot.want(partition, wanted);
        }
    }

    pub(super) fn tell(&self, partition: Partition, stream: &Stream) {
        lock(&self.slot(partition).told).mark = Some(stream.mark());
    }
}

fn count_sent(source: &str, events: usize) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    metrics::RECORDS.with_label_values(&[source]).inc_by(events);
}

/// An error with its causes, for the one place where it is logged. A database's own text may quote
/// a row, so of that only the SQLSTATE is shown.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let joint = if text.is_empty() { "" } else { ": " };
        match error.downcast_ref::<sqlx::Error>() {
            Some(sqlx::Error::Database(database)) => {
                let code = database.code().unwrap_or_default();
                return format!("{text}{joint}SQLSTATE {code}");
            }
            _ => text = format!("{text}{joint}{error}"),
        }
        next = error.source();
    }
    text
}
