//! The loops, and nothing else: each calls one step, looks at the shutdown between steps, and rests
//! until it is woken.

use std::time::Duration;

use events::Partition;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::step::chain;
use super::{Outcome, Relay, lock, topic};
use crate::append::Heads;

/// How often the leases are tended; a fourth of their length when that is less.
const TEND_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A partition that nobody wakes looks for itself this often.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The rest after trouble, doubled up to the maximum.
const TROUBLE_REST_MIN: Duration = Duration::from_millis(50);
const TROUBLE_REST_MAX: Duration = Duration::from_secs(2);

/// How often the topic's settings are checked, and how often while something is wrong.
const TOPIC_INTERVAL: Duration = Duration::from_secs(300);
const TOPIC_AGAIN: Duration = Duration::from_secs(5);

/// How long a partition may wait for its last acknowledgements when the process stops. What is not
/// acknowledged by then its next holder finds in the topic, or sends again.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long handing over may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// A loop ended although nobody asked it to: a bug, and the process should say so and end.
#[derive(Debug, thiserror::Error)]
#[error("a loop of the relay ended by itself")]
pub struct LoopEnded(#[source] Option<tokio::task::JoinError>);

impl Relay {
    /// Runs until `shutdown`; then what is on its way is waited for, and every lease is handed over
    /// at once.
    ///
    /// # Errors
    /// [`LoopEnded`].
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) -> Result<(), LoopEnded> {
        let mut loops = self.spawn_loops();
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            ended = loops.join_next() => Err(LoopEnded(ended.and_then(Result::err))),
        };
        self.inner.stopping.cancel();
        let drained = async { while loops.join_next().await.is_some() {} };
        if tokio::time::timeout(FLUSH_MAX, drained).await.is_err() {
            tracing::warn!("a loop of the relay did not end in time and is cut off");
            loops.shutdown().await;
        }
        self.leave().await;
        ended
    }

    fn spawn_loops(&self) -> JoinSet<()> {
        let mut loops = JoinSet::new();
        let relay = self.clone();
        loops.spawn(async move { relay.until_stopped(relay.tend_loop()).await });
        let relay = self.clone();
        loops.spawn(async move { relay.until_stopped(relay.topic_loop()).await });
        if let Some(heads) = self.inner.heads.clone() {
            let relay = self.clone();
            loops.spawn(async move {
                relay.until_stopped(relay.follow_lanes(heads)).await;
                // Lanes that ended first are no reason to stop.
                relay.inner.stopping.cancelled().await;
            });
        }
        for &partition in &self.inner.partitions {
            let relay = self.clone();
            loops.spawn(async move { relay.partition_loop(partition).await });
        }
        loops
    }

    pub(super) async fn until_stopped(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.inner.stopping.cancelled() => {}
            () = work => {}
        }
    }

    async fn tend_loop(&self) {
        let interval = (self.inner.settings.lease / 4).min(TEND_INTERVAL_MAX);
        loop {
            let tended = async {
                self.tend().await?;
                self.tell_lag().await
            };
            if let Err(error) = tended.await {
                tracing::warn!(error = %chain(&error), "the relay's leases could not be tended");
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Says what is wrong with the topic, and goes on trying: commands work without Kafka.
    async fn topic_loop(&self) {
        loop {
            let count = self.inner.partitions.len();
            let complaint = topic::complaint(&self.inner.target, count).await;
            let before = std::mem::replace(&mut *lock(&self.inner.topic), complaint.clone());
            if let Some(complaint) = &complaint
                && before != Some(complaint.clone())
            {
                tracing::error!("{complaint}");
            }
            let rest = if complaint.is_some() {
                TOPIC_AGAIN
            } else {
                TOPIC_INTERVAL
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// Wakes the partitions whose heads have moved.
    async fn follow_lanes(&self, mut heads: watch::Receiver<Heads>) {
        let mut before = heads.borrow_and_update().clone();
        while heads.changed().await.is_ok() {
            let now = heads.borrow_and_update().clone();
            for (slot, (now, then)) in self
                .inner
                .slots
                .iter()
                .zip(now.positions.iter().zip(&before.positions))
            {
                if now != then {
                    slot.wake.notify_one();
                }
            }
            before = now;
        }
    }

    async fn partition_loop(&self, partition: Partition) {
        let mut trouble_rest = TROUBLE_REST_MIN;
        while !self.inner.stopping.is_cancelled() {
            let outcome = self.step(partition).await;
            let rest = match outcome {
                Outcome::Sent(_) | Outcome::Waiting | Outcome::Resumed { .. } => Duration::ZERO,
                Outcome::Idle | Outcome::NotHeld => IDLE_MAX,
                Outcome::Stopped(_) => self.inner.settings.stopped_rest,
                Outcome::Trouble => trouble_rest,
            };
            trouble_rest = match outcome {
                Outcome::Trouble => (trouble_rest * 2).min(TROUBLE_REST_MAX),
                _ => TROUBLE_REST_MIN,
            };
            if rest.is_zero() {
                continue;
            }
            let woken = matches!(outcome, Outcome::Idle | Outcome::NotHeld);
            tokio::select! {
                () = self.inner.stopping.cancelled() => {}
                () = self.slot(partition).wake.notified(), if woken => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Waits for what is on its way, writes the lower bounds and hands every lease over, so that
    /// another process goes on at once.
    pub async fn leave(&self) {
        let until = Instant::now() + FLUSH_MAX;
        for &partition in &self.inner.partitions {
            let flush = self.flush(partition);
            if tokio::time::timeout_at(until, flush).await.is_err() {
                tracing::debug!(partition = partition.0, "not everything was acknowledged");
            }
        }
        let leaving = async {
            self.write_marks().await?;
            self.inner.leases.leave(&self.inner.partitions).await
        };
        match tokio::time::timeout(LEAVE_MAX, leaving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                error = %chain(&error),
                "the relay's leases could not be handed over; others take them when they run out"
            ),
            Err(_) => tracing::warn!("handing the relay's leases over took too long"),
        }
        lock(&self.inner.held).clear();
        for &partition in &self.inner.partitions {
            self.step(partition).await;
        }
    }

    async fn flush(&self, partition: Partition) {
        let slot = self.slot(partition);
        let mut state = slot.state.lock().await;
        let Some(stream) = &mut state.stream else {
            return;
        };
        while stream.in_flight() > 0 {
            if stream.wait(FLUSH_MAX, FLUSH_MAX).await.is_err() {
                return;
            }
            lock(&slot.told).mark = Some(stream.mark());
        }
    }
}
