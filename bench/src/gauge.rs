//! The clock of a measurement: writers ask it whether to go on and tell it what they did. A command
//! counts when it ended inside the window, whenever it began.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// One histogram for all would be fought over, one a writer would not fit the processor's cache.
const SHARDS: usize = 16;

/// Shared by the writers of one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: AtomicU8,
    done: AtomicU64,
    micros: Vec<Mutex<Histogram<u64>>>,
}

impl Gauge {
    /// A gauge that does not count yet.
    pub(crate) fn new() -> Self {
        let micros = (0..SHARDS).map(|_| Mutex::new(empty())).collect();
        let inner = Inner {
            phase: AtomicU8::new(WARMING),
            done: AtomicU64::new(0),
            micros,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Begins the window.
    pub(crate) fn measure(&self) {
        self.inner.phase.store(MEASURING, Ordering::Relaxed);
    }

    /// Ends the window and the writers.
    pub(crate) fn stop(&self) {
        self.inner.phase.store(STOPPED, Ordering::Relaxed);
    }

    /// Whether a writer goes on.
    pub(crate) fn runs(&self) -> bool {
        self.inner.phase.load(Ordering::Relaxed) != STOPPED
    }

    /// Notes `events` that were made durable together, by something that began at `begun`.
    pub(crate) fn note(&self, writer: usize, begun: Instant, events: u64) {
        if self.inner.phase.load(Ordering::Relaxed) != MEASURING {
            return;
        }
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.inner.done.fetch_add(events, Ordering::Relaxed);
        let mut shard = self.shard(writer);
        *shard += micros;
    }

    /// Events noted so far.
    pub(crate) fn done(&self) -> u64 {
        self.inner.done.load(Ordering::Relaxed)
    }

    /// The latencies noted since the last call, in microseconds.
    pub(crate) fn take_micros(&self) -> Histogram<u64> {
        let mut merged = empty();
        for index in 0..SHARDS {
            let shard = std::mem::replace(&mut *self.shard(index), empty());
            merged.add(shard).expect("both grow as they need");
        }
        merged
    }

    fn shard(&self, writer: usize) -> std::sync::MutexGuard<'_, Histogram<u64>> {
        self.inner.micros[writer % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits, unless a writer ends before: then it failed.
///
/// # Errors
/// The writer's.
pub(crate) async fn pause(
    running: &mut JoinSet<anyhow::Result<()>>,
    duration: Duration,
) -> anyhow::Result<()> {
    tokio::select! {
        () = tokio::time::sleep(duration) => Ok(()),
        Some(ended) = running.join_next() => {
            ended.context("a writer panicked")?.and(Err(anyhow::anyhow!("a writer ended early")))
        }
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_inside_the_window_counts() {
        let gauge = Gauge::new();
        let begun = Instant::now();
        gauge.note(0, begun, 1);
        assert!(gauge.runs());
        gauge.measure();
        gauge.note(1, begun, 3);
        gauge.note(17, begun, 1);
        gauge.stop();
        gauge.note(1, begun, 1);
        assert!(!gauge.runs());
        assert_eq!(gauge.done(), 4);
        assert_eq!(gauge.take_micros().len(), 2);
        assert_eq!(gauge.take_micros().len(), 0);
    }
}
