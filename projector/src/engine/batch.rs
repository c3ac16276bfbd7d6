//! How much goes into one transaction: at most so many events, at most so many row effects, and
//! never so much that it takes a quarter of the lease.

use std::time::Duration;

use events::RecordedEvent;
use read_model::projection::Projection;

/// The limits of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most events (`PROJECTION_BATCH_EVENTS`).
    pub events_max: usize,
    /// The most row effects (`PROJECTION_BATCH_ROWS`).
    pub rows_max: usize,
}

/// How many of `events` make the next batch: within the limits, but at least one, whatever its
/// effects.
pub(crate) fn cut(
    events: &[RecordedEvent],
    limits: BatchLimits,
    projection: &dyn Projection,
) -> usize {
    let mut rows = 0usize;
    for (count, event) in events.iter().take(limits.events_max).enumerate() {
        rows = rows.saturating_add(projection.effects_max(event));
        if rows > limits.rows_max && count > 0 {
            return count;
        }
    }
    events.len().min(limits.events_max)
}

/// The batch size that keeps a transaction under a quarter of the lease: it is halved when one
/// takes longer, and grows back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    events: usize,
    events_max: usize,
    transaction_max: Duration,
}

impl Pace {
    pub(crate) fn new(events_max: usize, lease: Duration) -> Self {
        Self {
            events: events_max,
            events_max,
            transaction_max: lease / 4,
        }
    }

    /// How many events the next batch may have.
    pub(crate) fn events(self) -> usize {
        self.events
    }

    /// Learns how long a transaction took.
    pub(crate) fn took(&mut self, time: Duration) {
        if time > self.transaction_max {
            self.halve();
        } else if time < self.transaction_max / 4 {
            self.events = self.events.saturating_mul(2).min(self.events_max);
        }
    }

    /// The transaction took longer than a statement may; the same one would do so again.
    pub(crate) fn halve(&mut self) {
        self.events = (self.events / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_transaction_halves_the_next_batch_and_quick_ones_let_it_grow_back() {
        let mut pace = Pace::new(1000, Duration::from_secs(10));
        assert_eq!(pace.events(), 1000);
        pace.took(Duration::from_secs(3));
        assert_eq!(pace.events(), 500);
        pace.took(Duration::from_secs(1));
        assert_eq!(pace.events(), 500, "neither slow nor quick");
        pace.took(Duration::from_millis(20));
        pace.took(Duration::from_millis(20));
        assert_eq!(pace.events(), 1000, "never above the setting");
        for _ in 0..20 {
            pace.took(Duration::from_secs(3));
        }
        assert_eq!(pace.events(), 1, "never nothing");
    }
}
