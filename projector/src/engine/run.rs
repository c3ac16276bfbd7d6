//! The loops, and nothing else: each calls one step, looks at the shutdown between steps, and rests
//! until it is woken.

use std::sync::Arc;
use std::time::Duration;

use event_store::Heads;
use events::Partition;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::step::Outcome;
use super::{Engine, lease};

/// How often leases, generations and control rows are looked at when nobody asks for it.
const ATTEND_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// The same when a generation begins to be filled: a small one is shown at once. Each look doubles
/// it, because a large one takes its time, and one that cannot be shown is looked at for long.
const FILLING_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// How often the lag metrics are told.
const LAG_INTERVAL: Duration = Duration::from_secs(2);

/// A partition that nobody wakes looks for itself this often.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The rest after trouble; each cursor has its own growing backoff besides.
const TROUBLE_REST: Duration = Duration::from_millis(50);

/// Every loop stops within this time, or is cut off: what it did not commit is done by the next
/// owner.
const STOP_MAX: Duration = Duration::from_millis(900);

/// A loop ended although nobody asked it to: a bug, and the process should say so and end.
#[derive(Debug, thiserror::Error)]
#[error("a loop of the projection engine ended by itself")]
pub struct LoopEnded(#[source] Option<tokio::task::JoinError>);

impl Engine {
    /// Runs until `shutdown`; then every lease is handed over at once.
    ///
    /// # Errors
    /// [`LoopEnded`].
    pub async fn run_until(
        &self,
        heads: Option<watch::Receiver<Heads>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), LoopEnded> {
        let mut loops = self.spawn_loops(heads);
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            ended = loops.join_next() => Err(LoopEnded(ended.and_then(Result::err))),
        };
        self.inner.stopping.cancel();
        let drained = async { while loops.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, drained).await.is_err() {
            tracing::warn!("a batch did not end in time and is cut off; its next owner repeats it");
            loops.shutdown().await;
        }
        self.leave().await;
        ended
    }

    fn spawn_loops(&self, heads: Option<watch::Receiver<Heads>>) -> JoinSet<()> {
        let mut loops = JoinSet::new();
        let engine = self.clone();
        loops.spawn(async move { engine.attend_loop().await });
        let engine = self.clone();
        loops.spawn(async move { engine.until_stopped(engine.tell_lag_loop()).await });
        let engine = self.clone();
        loops.spawn(async move { engine.until_stopped(engine.listen()).await });
        let engine = self.clone();
        loops.spawn(async move { engine.until_stopped(engine.poll_heads()).await });
        if let Some(heads) = heads {
            let engine = self.clone();
            loops.spawn(async move {
                engine.until_stopped(engine.follow_appender(heads)).await;
                // An appender that ended first is no reason to stop.
                engine.inner.stopping.cancelled().await;
            });
        }
        // One connection is left for leases and polls, whatever the batches do.
        let connections = self.inner.pool.options().get_max_connections().max(2) - 1;
        let permits = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1)));
        for partition in self.inner.partitions.iter() {
            let (engine, permits) = (self.clone(), Arc::clone(&permits));
            loops.spawn(async move { engine.partition_loop(partition, &permits).await });
        }
        loops
    }

    async fn until_stopped(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.inner.stopping.cancelled() => {}
            () = work => {}
        }
    }

    async fn attend_loop(&self) {
        let mut while_filling = FILLING_INTERVAL_MIN;
        while !self.inner.stopping.is_cancelled() {
            let filling = match self.attend().await {
                Ok(()) => self.plan().is_filling(&self.inner.projections),
                Err(error) => {
                    tracing::warn!(error = %error, "leases and generations could not be tended");
                    false
                }
            };
            let interval = (self.inner.settings.lease / 4).min(ATTEND_INTERVAL_MAX);
            let rest = if filling {
                interval.min(while_filling)
            } else {
                interval
            };
            while_filling = if filling {
                (rest * 2).min(interval)
            } else {
                FILLING_INTERVAL_MIN
            };
            tokio::select! {
                () = self.inner.stopping.cancelled() => {}
                () = self.inner.attention.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn tell_lag_loop(&self) {
        loop {
            tokio::time::sleep(LAG_INTERVAL).await;
            if let Err(error) = self.tell_lag().await {
                tracing::debug!(error = %error, "the lag could not be read");
            }
        }
    }

    async fn partition_loop(&self, partition: Partition, permits: &Semaphore) {
        while !self.inner.stopping.is_cancelled() {
            let outcome = {
                let Ok(_permit) = permits.acquire().await else {
                    return;
                };
                self.step_partition(partition).await
            };
            let rest = match outcome {
                Outcome::Applied { .. } => continue,
                Outcome::Idle | Outcome::Fenced | Outcome::Suspect => IDLE_MAX,
                Outcome::Trouble => TROUBLE_REST,
            };
            let source = &self.inner.source;
            let again = source.look_again(partition);
            // What is overdue may be resting after trouble.
            let rest = again.map_or(rest, |again| again.max(TROUBLE_REST).min(rest));
            tokio::select! {
                () = self.inner.stopping.cancelled() => {}
                () = self.slot(partition).wake.notified() => {}
                () = source.arrived(partition) => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Hands every lease over, so that another daemon goes on at once.
    pub async fn leave(&self) {
        for &projection in &self.inner.projections {
            let scope = self.scope(projection);
            // All partitions and not only those of the plan: one may have been taken just before
            // the loop was cut off.
            let all: Vec<_> = self.inner.partitions.iter().collect();
            let leaving = lease::leave(&self.inner.pool, scope, &all);
            match tokio::time::timeout(STOP_MAX, leaving).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(
                    error = %error,
                    "leases could not be handed over; others take them when they have run out"
                ),
                Err(_) => tracing::warn!("handing leases over took too long; they will run out"),
            }
        }
        self.plan().forget_leases();
    }
}
