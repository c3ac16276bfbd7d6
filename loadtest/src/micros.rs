//! Durations as whole microseconds, and histograms of them.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept in microseconds up to here; what took longer counts as much.
const MICROS_MAX: u64 = 600_000_000;

/// An empty histogram of microseconds.
#[must_use]
pub fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, digits).expect("these bounds can be kept")
}

/// Whole microseconds.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
