//! What the relay tells; everything exists from 0.

use std::sync::LazyLock;

use events::Partition;
use prometheus::{
    GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, register_gauge_vec, register_int_counter,
    register_int_counter_vec, register_int_gauge_vec,
};

use super::StopReason;

const REGISTERED_ONCE: &str = "the name is registered here and nowhere else";

/// Where a record's event was taken from.
const SOURCES: [&str; 2] = ["memory", "store"];

pub(super) static LAG_EVENTS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "relay_lag_events",
        "Events of a partition that this process relays and Kafka has not acknowledged",
        &["partition"]
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static LAG_SECONDS: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "relay_lag_seconds",
        "Age of the oldest event of a partition that Kafka has not acknowledged",
        &["partition"]
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static HELD: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "relay_lease_held",
        "1 while this process holds the lease of the partition's relay",
        &["partition"]
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static STOPPED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "relay_stopped",
        "1 while a partition's relay waits for somebody to put something right",
        &["partition"]
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static RECORDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "relay_records_sent_total",
        "Records handed to Kafka's client, by where their events were taken from",
        &["source"]
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static RESTARTS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "relay_restarts_total",
        "Times that a partition dropped its producer and read the topic back"
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static REFILLS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "relay_refills_total",
        "Times that a partition of the topic was filled from its beginning"
    )
    .expect(REGISTERED_ONCE)
});

pub(super) static ALERTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let alerts = register_int_counter_vec!(
        "relay_alerts_total",
        "Things that the relay met and that somebody must look at",
        &["kind"]
    )
    .expect(REGISTERED_ONCE);
    for reason in StopReason::ALL {
        alerts.with_label_values(&[reason.name()]);
    }
    alerts
});

/// Makes every metric exist before the first record.
pub(super) fn register(partitions: impl Iterator<Item = Partition>) {
    for partition in partitions {
        forget(partition);
    }
    for source in SOURCES {
        RECORDS.with_label_values(&[source]);
    }
    LazyLock::force(&RESTARTS);
    LazyLock::force(&REFILLS);
    LazyLock::force(&ALERTS);
}

/// Of a partition that is another process's matter nothing is told.
pub(super) fn forget(partition: Partition) {
    let partition = partition.0.to_string();
    let partition = &[partition.as_str()];
    LAG_EVENTS.with_label_values(partition).set(0);
    LAG_SECONDS.with_label_values(partition).set(0.);
    HELD.with_label_values(partition).set(0);
    STOPPED.with_label_values(partition).set(0);
}

/// A partition needs somebody: once a log line and a count, and a gauge while it lasts.
pub(super) fn stopped(partition: Partition, reason: StopReason, position: i64) {
    ALERTS.with_label_values(&[reason.name()]).inc();
    set_stopped(partition, true);
    tracing::error!(
        partition = partition.0,
        position,
        reason = reason.name(),
        "the relay of partition {partition} has stopped at position {position}: {reason}",
        partition = partition.0
    );
}

pub(super) fn set_stopped(partition: Partition, stopped: bool) {
    let label = partition.0.to_string();
    STOPPED.with_label_values(&[&label]).set(stopped.into());
}
