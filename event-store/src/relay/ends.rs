//! Beginning and ending a partition's stream: read the topic back, go on where it ends, fill it
//! when it was emptied, stop where going on would do harm.

use std::time::Duration;

use events::Partition;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;

use super::lease::{Lease, Mark};
use super::resume::{Decision, Found};
use super::step::{Outcome, State, Trouble, chain};
use super::stream::{Beginning, Comparison, Stream};
use super::topic_log::LogError;
use super::{Relay, StopReason, client, lock, metrics};

/// How long a stream waits for the producer of the one before it to be gone.
const LEAVING_WAIT: Duration = Duration::from_secs(5);

/// When a comparison that came to nothing is tried again.
const COMPARE_AGAIN: Duration = Duration::from_secs(5);

/// Closing a producer may hang; so many of a partition may, before no other one is made.
const LEAVING_MAX: usize = 3;

impl Relay {
    /// Reads the topic back and begins a stream where it ends.
    pub(super) async fn resume(
        &self,
        partition: Partition,
        lease: Lease,
        state: &mut State,
    ) -> Result<Outcome, Trouble> {
        self.close(partition, state);
        // Gone or not in time: what still comes from one is found by the first offset.
        if state.await_leaving(LEAVING_WAIT).await >= LEAVING_MAX {
            return Ok(self.hang(partition, state));
        }
        let window = i64::try_from(self.inner.settings.in_flight_max * 2).unwrap_or(i64::MAX);
        let (found, incarnation) = self.survey(partition, lease, window).await?;
        let (after, end) = match found.decide() {
            Decision::After(position) => (position, found.ends.high),
            Decision::Stop(reason, position) => {
                self.stop(partition, state, reason, position);
                return Ok(Outcome::Stopped(reason));
            }
            Decision::Refill { cut } => {
                let refill = self.refill(partition, lease, incarnation, &found, cut);
                (found.floor, refill.await?)
            }
        };
        let settings = &self.inner.settings;
        let count = self.inner.partitions.len();
        let first_turn = turn(settings.compare_interval, partition, count);
        let beginning = Beginning {
            partition,
            epoch: lease.epoch,
            incarnation,
            after,
            last_offset: end - 1,
            compare_at: Instant::now() + first_turn,
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
        if std::mem::take(&mut lock(&self.slot(partition).told).is_failing) {
            let number = partition.0;
            tracing::info!(
                partition = number,
                after,
                "partition {number} goes on after {after}"
            );
        }
        if matches!(state.stopped, Some((reason, _)) if reason != StopReason::Undeliverable) {
            self.recovered(partition, state);
        }
        tracing::debug!(partition = partition.0, after, "resumed a partition");
        Ok(Outcome::Resumed { after })
    }

    /// From the beginning: first the lower bound goes, then what came out of order, so that a crash
    /// in between comes here again. Returns the offset of the next record.
    async fn refill(
        &self,
        partition: Partition,
        lease: Lease,
        incarnation: i32,
        found: &Found,
        cut: bool,
    ) -> Result<i64, Trouble> {
        if found.head == 0 {
            return Ok(found.ends.high);
        }
        let mark = Mark {
            partition,
            epoch: lease.epoch,
            incarnation,
            position: 0,
        };
        self.inner.leases.write_marks(&[mark]).await?;
        {
            // An older mark that waits to be written would bring the bound back.
            let told = &mut *lock(&self.slot(partition).told);
            (told.mark, told.written) = (Some(mark), Some(mark));
        }
        let end = if cut {
            self.inner.log.cut(partition).await?
        } else {
            found.ends.high
        };
        metrics::REFILLS.inc();
        tracing::warn!(
            partition = partition.0,
            head = found.head,
            "filling partition {} of the topic from its beginning",
            partition.0
        );
        Ok(end)
    }

    /// Holds the ends of the topic against the store now and then: it may have been deleted and
    /// made again. The look goes on beside the stream, because it can take a tenth of a second.
    pub(super) fn compare(
        &self,
        partition: Partition,
        lease: Lease,
        stream: &mut Stream,
    ) -> Result<(), Trouble> {
        let Some(comparison) = &mut stream.comparison else {
            if Instant::now() >= stream.compare_at {
                stream.comparison = Some(self.begin_comparison(partition, lease, stream));
            }
            return Ok(());
        };
        let found = match comparison.found.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            // Its task panicked.
            Err(TryRecvError::Closed) => Err(Trouble::Log(LogError::Silent)),
            Ok(found) => found,
        };
        let (acked, last_offset) = (comparison.acked, comparison.last_offset);
        let interval = self.inner.settings.compare_interval;
        stream.comparison = None;
        stream.compare_at = Instant::now() + interval;
        let found = match found {
            // A look that could not be made says nothing against a stream that is acknowledged.
            Err(trouble @ (Trouble::Log(_) | Trouble::Read(_) | Trouble::Database(_))) => {
                let error = chain(&trouble);
                tracing::warn!(
                    partition = partition.0,
                    error,
                    "the topic's ends could not be read"
                );
                stream.compare_at = Instant::now() + interval.min(COMPARE_AGAIN);
                return Ok(());
            }
            found => found?,
        };
        let lost = match found.decide() {
            Decision::After(_) => false,
            Decision::Stop(..) => true,
            Decision::Refill { .. } => acked > found.floor,
        };
        if lost || found.ends.high <= last_offset {
            return Err(Trouble::Diverged);
        }
        Ok(())
    }

    fn begin_comparison(&self, partition: Partition, lease: Lease, stream: &Stream) -> Comparison {
        let (tell, found) = oneshot::channel();
        let relay = self.clone();
        tokio::spawn(async move {
            let look = async {
                let found = relay.survey(partition, lease, 1).await;
                // Nobody listens when the stream was closed meanwhile.
                if tell.send(found.map(|(found, _)| found)).is_ok() {
                    relay.slot(partition).wake.notify_one();
                }
            };
            relay.until_stopped(look).await;
        });
        Comparison {
            acked: stream.acked,
            last_offset: stream.last_offset,
            found,
        }
    }

    pub(super) fn close(&self, partition: Partition, state: &mut State) {
        if let Some(stream) = state.stream.take() {
            state.leaving.push(stream.close());
        }
        self.want(partition, false);
        let told = &mut *lock(&self.slot(partition).told);
        told.mark = told.written;
    }

    pub(super) fn restart(
        &self,
        partition: Partition,
        state: &mut State,
        trouble: &Trouble,
    ) -> Outcome {
        self.close(partition, state);
        metrics::RESTARTS.inc();
        let (partition_number, error) = (partition.0, chain(trouble));
        let again = std::mem::replace(&mut lock(&self.slot(partition).told).is_failing, true);
        // What is the same again is not said again.
        if again {
            tracing::debug!(partition = partition_number, error, "it fails again");
        } else {
            tracing::warn!(
                partition = partition_number,
                error,
                "partition {partition_number} of the topic is read back"
            );
        }
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
            Trouble::Log(LogError::Hanging) => self.hang(partition, state),
            _ => Outcome::Trouble,
        }
    }

    /// Waits for one of the clients that hang.
    fn hang(&self, partition: Partition, state: &mut State) -> Outcome {
        let mark = lock(&self.slot(partition).told).mark;
        let position = mark.map_or(0, |mark| mark.position);
        self.stop(partition, state, StopReason::Hanging, position);
        Outcome::Stopped(StopReason::Hanging)
    }

    fn stop(&self, partition: Partition, state: &mut State, reason: StopReason, position: i64) {
        if state.stopped.replace((reason, position)) != Some((reason, position)) {
            metrics::stopped(partition, reason, position);
        }
        lock(&self.slot(partition).told).stopped = Some(reason);
    }

    pub(super) fn recovered(&self, partition: Partition, state: &mut State) {
        state.stopped = None;
        state.careful = false;
        lock(&self.slot(partition).told).stopped = None;
        metrics::set_stopped(partition, false);
        tracing::info!(partition = partition.0, "partition {} goes on", partition.0);
    }
}

/// How long after its beginning a stream is compared first. The partitions take turns: looks at all
/// of them at once would take the processor from the events.
fn turn(interval: Duration, partition: Partition, count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    interval * (u32::from(partition.0) + 1) / count
}

impl State {
    /// Waits until the producers before are gone, at most `patience`; how many are not.
    async fn await_leaving(&mut self, patience: Duration) -> usize {
        let until = Instant::now() + patience;
        for leaving in &mut self.leaving {
            drop(tokio::time::timeout_at(until, leaving).await);
        }
        self.leaving
            .retain_mut(|leaving| leaving.try_recv() == Err(TryRecvError::Empty));
        self.leaving.len()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partitions_take_turns_and_none_waits_longer_than_the_interval() {
        let interval = Duration::from_secs(60);
        let turns = (0..16).map(|number| turn(interval, Partition(number), 16));
        let turns: Vec<_> = turns.collect();
        let apart = turns.windows(2).map(|two| two[1] - two[0]);
        assert!(apart.into_iter().all(|apart| apart == interval / 16));
        assert!(turns[0] > Duration::ZERO);
        assert_eq!(turns[15], interval);
    }

    #[tokio::test]
    async fn producers_that_hang_in_closing_are_counted_until_they_are_gone() {
        let mut state = State::default();
        let mut hanging = Vec::new();
        for _ in 0..LEAVING_MAX {
            let (gone, leaving) = oneshot::channel();
            hanging.push(gone);
            state.leaving.push(leaving);
        }
        let patience = Duration::from_millis(1);
        assert_eq!(state.await_leaving(patience).await, LEAVING_MAX);
        assert_eq!(state.await_leaving(patience).await, LEAVING_MAX);
        hanging.pop().unwrap().send(()).unwrap();
        assert_eq!(state.await_leaving(patience).await, LEAVING_MAX - 1);
        assert_eq!(state.await_leaving(patience).await, LEAVING_MAX - 1);
    }
}
