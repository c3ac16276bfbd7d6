//! What the engine counts. No label holds an id or a tenant; counters exist from 0.

use std::sync::LazyLock;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    register_gauge_vec, register_histogram_vec, register_int_counter, register_int_counter_vec,
    register_int_gauge, register_int_gauge_vec,
};

use read_model::projection::Projection;

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

/// How far a rebuild is, while there is one.
pub(crate) static REBUILD_PROGRESS: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "rebuild_progress_ratio",
        "Events up to the heads that finished slices of a rebuild hold, 0 to 1",
        &["projection"]
    )
    .expect(REGISTERED_ONCE)
});

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

/// From the append to the commit of the view's rows, by the source that fed them.
pub(crate) static VISIBILITY_LAG: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        HistogramOpts::new(
            "visibility_lag_seconds",
            "From the append of an event to the commit of its rows in an active generation"
        )
        .buckets(vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0
        ]),
        &["source"]
    )
    .expect(REGISTERED_ONCE)
});

/// Events that were applied or parked, by the source that gave them.
pub(crate) static EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "projection_events_total",
        "Events that were applied or parked, by the source that gave them",
        &["projection", "source"]
    )
    .expect(REGISTERED_ONCE)
});

/// Records of the topic that are no events of this store.
pub(crate) static RECORDS_DROPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "source_records_dropped_total",
        "Kafka records that were dropped: foreign, void, or ahead of the event store",
        &["reason"]
    )
    .expect(REGISTERED_ONCE)
});

/// How often the store was read because Kafka gave nothing.
pub(crate) static SILENCES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "source_silences_total",
        "Batches that the event store gave because Kafka was silent"
    )
    .expect(REGISTERED_ONCE)
});

/// Consumers that were stuck or broken.
pub(crate) static CONSUMERS_REPLACED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "source_consumers_replaced_total",
        "Kafka consumers that gave nothing although there was something"
    )
    .expect(REGISTERED_ONCE)
});

/// Consumers that are being closed.
pub(crate) static CONSUMERS_CLOSING: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "source_consumers_closing",
        "Kafka consumers that are being closed; while 3 hang, Kafka is not read"
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

/// Makes the metrics exist before anything happened.
pub(crate) fn register(projections: &[&'static dyn Projection]) {
    for projection in projections {
        EVENTS.with_label_values(&[projection.name(), "postgres"]);
    }
    LazyLock::force(&HOLES_FILLED);
    LazyLock::force(&DUPLICATES_DROPPED);
    VISIBILITY_LAG.with_label_values(&["postgres"]);
}

/// The same for what only Kafka brings.
pub(crate) fn register_kafka() {
    for projection in read_model::PROJECTIONS {
        EVENTS.with_label_values(&[projection.name(), "kafka"]);
    }
    LazyLock::force(&SILENCES);
    LazyLock::force(&CONSUMERS_REPLACED);
    LazyLock::force(&CONSUMERS_CLOSING);
    VISIBILITY_LAG.with_label_values(&["kafka"]);
    for reason in ["foreign", "void", "ahead"] {
        RECORDS_DROPPED.with_label_values(&[reason]);
    }
}
