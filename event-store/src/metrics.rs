//! What the store tells about itself; counters exist from 0. The depth of the lanes' queues is told
//! by whoever shows all queues of its process: [`crate::Appender::queue_depths`].

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounterVec, IntGauge, register_histogram, register_int_counter_vec,
    register_int_gauge,
};

const REGISTERED_ONCE: &str = "the name is registered here and nowhere else";

/// What somebody must look at, by kind.
const ALERTS: [&str; 5] = [
    "rejected_entry",
    "unique_violation",
    "tail_lost",
    "lane_panic",
    "outcome_unknown",
];

pub(crate) static APPEND_BATCH_EVENTS: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = vec![
        0., 1., 2., 4., 8., 16., 32., 64., 128., 256., 512., 1024., 4096.,
    ];
    register_histogram!(
        "append_batch_events",
        "Events written by one batch of the append",
        buckets
    )
    .expect(REGISTERED_ONCE)
});

pub(crate) static APPEND_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = vec![
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10.,
    ];
    register_histogram!(
        "append_seconds",
        "From an entry's arrival at the append to its verdict",
        buckets
    )
    .expect(REGISTERED_ONCE)
});

pub(crate) static STREAM_MAILBOX_DEPTH: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "stream_mailbox_depth",
        "Commands that wait for their turn on a stream"
    )
    .expect(REGISTERED_ONCE)
});

pub(crate) static INCARNATION: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "incarnation",
        "The incarnation of the store that is written now"
    )
    .expect(REGISTERED_ONCE)
});

pub(crate) static APPEND_ALERTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let alerts = register_int_counter_vec!(
        "append_alerts_total",
        "Things that the append met and that somebody must look at",
        &["kind"]
    )
    .expect(REGISTERED_ONCE);
    for kind in ALERTS {
        alerts.with_label_values(&[kind]);
    }
    alerts
});

/// Makes every metric exist before the first append.
pub(crate) fn register() {
    LazyLock::force(&APPEND_BATCH_EVENTS);
    LazyLock::force(&APPEND_SECONDS);
    LazyLock::force(&INCARNATION);
    LazyLock::force(&STREAM_MAILBOX_DEPTH);
    LazyLock::force(&APPEND_ALERTS);
}
