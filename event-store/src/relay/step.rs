//! One step of one partition: resume when there is no stream, else take acknowledgements, send what
//! comes next, or wait for Kafka. Any failure ends the stream, and the next step resumes.

use std::time::Duration;

use events::{Partition, RecordedEvent};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

use super::lease::{Lease, Mark};
use super::resume::{Decision, Found};
use super::stream::{Beginning, Stream};
use super::topic_log::LogError;
use super::{Relay, StopReason, client, lock, metrics};
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
    #[error("position {position} came to offset {offset}, not above {last}")]
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
    /// A record was refused: the next producer sends each one by itself.
    careful: bool,
    stopped: Option<(StopReason, i64)>,
}

impl Relay {
    /// Does one step for a partition.
    pub async fn step(&self, partition: Partition) -> Outcome {
        let mut state = self.slot(partition).state.lock().await;
        let Some(lease) = self.lease(partition) else {
            self.close(partition, &mut state);
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
        if Instant::now() >= stream.compare_at {
            self.compare(partition, lease, stream).await?;
        }
        let events = self.next(partition, stream).await?;
        if !events.is_empty() {
            let sent = stream.send(&self.inner.target, self.inner.store_id, &events)?;
            return Ok(Outcome::Sent(sent));
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
        if !worth_it || !self.may_be_behind(partition, stream) {
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

    fn want(&self, partition: Partition, wanted: bool) {
        if let Some(hot) = &self.inner.hot
            && hot.wants(partition) != wanted
        {
            hot.want(partition, wanted);
        }
    }

    /// Reads the topic back and begins a stream where it ends.
    async fn resume(
        &self,
        partition: Partition,
        lease: Lease,
        state: &mut State,
    ) -> Result<Outcome, Trouble> {
        self.close(partition, state);
        let window = i64::try_from(self.inner.settings.in_flight_max * 2).unwrap_or(i64::MAX);
        let (found, incarnation) = self.survey(partition, lease, window).await?;
        let after = match found.decide() {
            Decision::After(position) => position,
            Decision::Stop(reason, position) => {
                self.stop(partition, state, reason, position);
                return Ok(Outcome::Stopped(reason));
            }
            Decision::Refill { cut } => {
                self.refill(partition, lease, incarnation, &found, cut)
                    .await?;
                found.floor
            }
        };
        let settings = &self.inner.settings;
        let beginning = Beginning {
            partition,
            epoch: lease.epoch,
            incarnation,
            after,
            last_offset: found.ends.high - 1,
            compare_at: Instant::now() + settings.compare_interval,
        };
        let producer = client::producer(&self.inner.target, settings, state.careful);
        let stream = Stream::begin(&beginning, producer.map_err(Trouble::Producer)?);
        if lease.refill != 0 {
            self.inner.leases.refill_done(partition, lease).await?;
            if let Some(held) = lock(&self.inner.held).get_mut(&partition) {
                held.refill = 0;
            }
        }
        self.tell(partition, &stream);
        state.stream = Some(stream);
        if matches!(state.stopped, Some((reason, _)) if reason != StopReason::Undeliverable) {
            self.recovered(partition, state);
        }
        tracing::debug!(partition = partition.0, after, "resumed a partition");
        Ok(Outcome::Resumed { after })
    }

    /// From the beginning: first the lower bound goes, then what came out of order, so that a crash
    /// in between comes here again.
    async fn refill(
        &self,
        partition: Partition,
        lease: Lease,
        incarnation: i32,
        found: &Found,
        cut: Option<i64>,
    ) -> Result<(), Trouble> {
        if found.head == 0 {
            return Ok(());
        }
        let mark = Mark {
            partition,
            epoch: lease.epoch,
            incarnation,
            position: 0,
        };
        self.inner.leases.write_marks(&[mark]).await?;
        if let Some(upto) = cut {
            self.inner.log.cut(partition, upto).await?;
        }
        metrics::REFILLS.inc();
        tracing::warn!(
            partition = partition.0,
            head = found.head,
            "filling partition {} of the topic from its beginning",
            partition.0
        );
        Ok(())
    }

    /// Holds the ends of the topic against the store: it may have been deleted and made again.
    async fn compare(
        &self,
        partition: Partition,
        lease: Lease,
        stream: &mut Stream,
    ) -> Result<(), Trouble> {
        let acked = (stream.acked, stream.last_offset);
        let (found, _) = self.survey(partition, lease, 1).await?;
        let lost = match found.decide() {
            Decision::After(_) => false,
            Decision::Stop(..) => true,
            Decision::Refill { .. } => acked.0 > found.floor,
        };
        if lost || found.ends.high <= acked.1 {
            return Err(Trouble::Diverged);
        }
        stream.compare_at = Instant::now() + self.inner.settings.compare_interval;
        Ok(())
    }

    fn tell(&self, partition: Partition, stream: &Stream) {
        lock(&self.slot(partition).told).mark = Some(stream.mark());
    }

    fn close(&self, partition: Partition, state: &mut State) {
        if let Some(stream) = state.stream.take() {
            stream.close();
        }
        self.want(partition, false);
        let told = &mut *lock(&self.slot(partition).told);
        told.mark = told.written;
    }

    fn restart(&self, partition: Partition, state: &mut State, trouble: &Trouble) -> Outcome {
        self.close(partition, state);
        metrics::RESTARTS.inc();
        tracing::warn!(
            partition = partition.0,
            error = %chain(trouble),
            "partition {} of the topic is read back",
            partition.0
        );
        match trouble {
            Trouble::Delivery { position, source } if is_refusal(source) => {
                let careful = std::mem::replace(&mut state.careful, true);
                if !careful {
                    return Outcome::Trouble;
                }
                let reason = StopReason::Undeliverable;
                self.stop(partition, state, reason, *position);
                Outcome::Stopped(reason)
            }
            _ => Outcome::Trouble,
        }
    }

    fn stop(&self, partition: Partition, state: &mut State, reason: StopReason, position: i64) {
        if state.stopped.replace((reason, position)) != Some((reason, position)) {
            metrics::stopped(partition, reason, position);
        }
        lock(&self.slot(partition).told).stopped = Some(reason);
    }

    fn recovered(&self, partition: Partition, state: &mut State) {
        state.stopped = None;
        state.careful = false;
        lock(&self.slot(partition).told).stopped = None;
        metrics::set_stopped(partition, false);
        tracing::info!(partition = partition.0, "partition {} goes on", partition.0);
    }
}

fn count_sent(source: &str, events: usize) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    metrics::RECORDS.with_label_values(&[source]).inc_by(events);
}

/// Kafka has looked at the record and does not want it: sending it again helps only after somebody
/// has changed something.
fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            Code::MessageSizeTooLarge
                | Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::InvalidRecord
                | Code::MessageBatchTooLarge
                | Code::PolicyViolation
                | Code::TopicAuthorizationFailed
        )
    })
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
