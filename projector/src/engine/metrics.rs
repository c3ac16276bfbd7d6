//! What the engine counts. No label holds an id or a tenant; counters exist from 0.

use std::sync::LazyLock;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntGaugeVec, register_histogram,
    register_histogram_vec, register_int_counter, register_int_gauge_vec,
};

const REGISTERED_ONCE: &str = "each metric is registered once, by its own static";
const PER_CHECKPOINT: &[&str] = &["projection", "generation", "partition"];

macro_rules! checkpoint_gauge {
    ($(#[$doc:meta])* $constant:ident, $name:literal, $help:literal) => {
        $(#[$doc])*
        pub(crate) static $constant: LazyLock<IntGaugeVec> = LazyLock::new(|| {
            register_int_gauge_vec!($name, $help, PER_CHECKPOINT).expect(REGISTERED_ONCE)
        });
    };
}

checkpoint_gauge!(
    /// The checkpoint.
    POSITION, "projection_position", "Position of the last event applied or parked"
);
checkpoint_gauge!(
    /// Head minus checkpoint.
    LAG_EVENTS, "projection_lag_events", "Events between the checkpoint and the head"
);
checkpoint_gauge!(
    /// Age of the first event that is not applied.
    LAG_SECONDS, "projection_lag_seconds", "Age of the first event that was not applied yet"
);

/// Keys that are parked.
pub(crate) static PARKED_KEYS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "parked_keys",
        "Routing keys that are parked",
        &["projection"]
    )
    .expect(REGISTERED_ONCE)
});

/// Holes that a source left and the store filled.
pub(crate) static HOLES_FILLED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "holes_filled_total",
        "Holes of a source, filled from the store"
    )
    .expect(REGISTERED_ONCE)
});

/// Events that a source gave again.
pub(crate) static DUPLICATES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "duplicates_dropped_total",
        "Events that a source gave again"
    )
    .expect(REGISTERED_ONCE)
});

/// From the append to the commit of the view's rows.
pub(crate) static VISIBILITY_LAG: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        HistogramOpts::new(
            "visibility_lag_seconds",
            "From the append of an event to the commit of its rows in an active generation"
        )
        .buckets(vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0
        ])
    )
    .expect(REGISTERED_ONCE)
});

/// How long batch transactions take.
pub(crate) static BATCH_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "projection_batch_seconds",
        "Time of one batch transaction",
        &["projection"]
    )
    .expect(REGISTERED_ONCE)
});

/// Makes every metric without labels exist before anything happened.
pub(crate) fn register() {
    LazyLock::force(&HOLES_FILLED);
    LazyLock::force(&DUPLICATES_DROPPED);
    LazyLock::force(&VISIBILITY_LAG);
}
