//! What the follower counts; one function an occurrence.

use std::sync::LazyLock;

use prometheus::{
    IntCounter, IntCounterVec, IntGaugeVec, register_int_counter, register_int_counter_vec,
    register_int_gauge_vec,
};

const REGISTERED_ONCE: &str = "each metric's name is registered in one place only";

/// What a write can come to.
const RESULTS: [&str; 6] = ["set", "kept", "absent", "cold", "apart", "forgotten"];

static WRITES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "cache_writes_total",
        "Write-throughs to Redis by what they came to",
        &["projection", "result"]
    )
    .expect(REGISTERED_ONCE)
});

static LAG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "cache_applied_lag_events",
        "Events between the checkpoint and what Redis vouches for",
        &["projection", "partition"]
    )
    .expect(REGISTERED_ONCE)
});

static RAISED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "cache_epochs_raised_total",
        "How often a partition's values in Redis were made cold, by reason",
        &["projection", "reason"]
    )
    .expect(REGISTERED_ONCE)
});

static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "cache_batches_dropped_total",
        "Batches that found the queue to Redis full"
    )
    .expect(REGISTERED_ONCE)
});

/// Makes the counters exist from 0.
pub(super) fn register(projection: &str) {
    LazyLock::force(&DROPPED);
    for result in RESULTS {
        WRITES.with_label_values(&[projection, result]).inc_by(0);
    }
}

pub(super) fn dropped() {
    DROPPED.inc();
}

pub(super) fn wrote(projection: &str, result: &str) {
    // What the script answers is one of the known words.
    if let Some(result) = RESULTS.iter().find(|known| **known == result) {
        WRITES.with_label_values(&[projection, result]).inc();
    }
}

pub(super) fn forgot(projection: &str, values: usize) {
    let values = u64::try_from(values).unwrap_or(u64::MAX);
    WRITES
        .with_label_values(&[projection, "forgotten"])
        .inc_by(values);
}

pub(super) fn lag(projection: &str, partition: u16, events: i64) {
    LAG.with_label_values(&[projection, &partition.to_string()])
        .set(events);
}

pub(super) fn raised(projection: &'static str, partition: u16, reason: &'static str) {
    RAISED.with_label_values(&[projection, reason]).inc();
    tracing::info!(
        projection,
        partition,
        reason,
        "what Redis holds of partition {partition} is cold now"
    );
}
