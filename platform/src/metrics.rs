//! The metrics that every process has, in the process-wide default registry. Counters exist from
//! 0; no label holds an id or a tenant.

use std::sync::{LazyLock, Mutex, PoisonError};

use prometheus::{
    Encoder as _, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
    register_histogram_vec, register_int_counter, register_int_counter_vec, register_int_gauge,
    register_int_gauge_vec,
};

const REGISTERED_ONCE: &str = "each metric's name is registered in one place only";

/// Buckets of every duration histogram, in seconds.
pub const SECONDS_BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

macro_rules! metric {
    ($(#[$doc:meta])* $name:ident: $type:ty = $register:expr) => {
        $(#[$doc])*
        pub static $name: LazyLock<$type> = LazyLock::new(|| $register.expect(REGISTERED_ONCE));
    };
}

metric! {
    /// Requests answered, by route pattern.
    HTTP_REQUESTS: IntCounterVec = register_int_counter_vec!(
        "http_requests_total",
        "Requests answered; path is the route's pattern",
        &["service", "method", "path", "status"]
    )
}
metric! {
    /// How long answers took, until the last byte was handed to the socket.
    HTTP_SECONDS: HistogramVec = register_histogram_vec!(
        "http_request_duration_seconds",
        "How long requests took",
        &["service", "method", "path"],
        SECONDS_BUCKETS.to_vec()
    )
}
metric! {
    /// Open connections on the data ports.
    ACTIVE_CONNECTIONS: IntGauge =
        register_int_gauge!("active_connections", "Open connections on the data ports")
}
metric! {
    /// Error answers by problem code.
    API_ERRORS: IntCounterVec = register_int_counter_vec!(
        "api_errors_total",
        "Error answers by problem code",
        &["method", "path", "code"]
    )
}
metric! {
    /// Requests slower than what we promise.
    SLO_VIOLATIONS: IntCounterVec = register_int_counter_vec!(
        "slo_violations_total",
        "Requests over 50 ms (latency_p95) and over 100 ms (latency_p99)",
        &["slo"]
    )
}
metric! {
    /// Panics, wherever they happened.
    PANICS: IntCounter = register_int_counter!("panics_total", "Panics, wherever they happened")
}
metric! {
    /// Values of Redis that belong to somebody else or are none: an alert.
    CACHE_FOREIGN: IntCounter = register_int_counter!(
        "cache_foreign_total",
        "Values in Redis that belonged to another key or were none; deleted"
    )
}
metric! {
    /// What circuit breakers let through.
    CIRCUIT_BREAKER_STATE: IntGaugeVec = register_int_gauge_vec!(
        "circuit_breaker_state",
        "0 closed, 1 half open, 2 open",
        &["name"]
    )
}
metric! {
    /// Connections of each pool.
    DB_POOL_CONNECTIONS: IntGaugeVec = register_int_gauge_vec!(
        "db_pool_connections",
        "Connections of each pool by state",
        &["pool", "state"]
    )
}
metric! {
    /// Depth of each bounded queue.
    QUEUE_DEPTH: IntGaugeVec =
        register_int_gauge_vec!("queue_depth", "Entries waiting in a bounded queue", &["queue"])
}
metric! {
    /// Always 1; its labels say what is running.
    BUILD_INFO: IntGaugeVec =
        register_int_gauge_vec!("build_info", "What is running", &["version", "commit"])
}

/// Makes the metrics without labels, and those with a few known ones, exist from 0.
pub fn register() {
    LazyLock::force(&PANICS);
    LazyLock::force(&ACTIVE_CONNECTIONS);
    for slo in ["latency_p95", "latency_p99"] {
        SLO_VIOLATIONS.with_label_values(&[slo]).inc_by(0);
    }
    let build = crate::build_info::BuildInfo::of_platform();
    BUILD_INFO
        .with_label_values(&[build.version, build.commit])
        .set(1);
}

/// Everything in the default registry as Prometheus text.
#[must_use]
pub fn render() -> Vec<u8> {
    show_pools();
    let mut text = Vec::with_capacity(16 << 10);
    // Encoding fails for a family without metrics only; the registry gives none.
    let _ = TextEncoder::new().encode(&prometheus::gather(), &mut text);
    text
}

/// Shows a pool's connections in `db_pool_connections` each time metrics are read.
pub fn watch_pool(name: &'static str, pool: &sqlx::PgPool) {
    // Pools are few and live as long as the process; tests replace one of the same name.
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|(known, pool)| *known != name && !pool.is_closed());
    pools.push((name, pool.clone()));
}

/// Connections in use over all pools, for `runtime_stats`.
#[must_use]
pub fn pool_connections_in_use() -> u64 {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.iter().map(|(_, pool)| used(pool)).sum()
}

fn show_pools() {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, pool) in pools.iter() {
        let gauge = |state| DB_POOL_CONNECTIONS.with_label_values(&[*name, state]);
        gauge("used").set(i64::try_from(used(pool)).unwrap_or(i64::MAX));
        gauge("idle").set(i64::try_from(pool.num_idle()).unwrap_or(i64::MAX));
        gauge("max").set(i64::from(pool.options().get_max_connections()));
    }
}

fn used(pool: &sqlx::PgPool) -> u64 {
    u64::from(pool.size()).saturating_sub(pool.num_idle() as u64)
}

static POOLS: Mutex<Vec<(&'static str, sqlx::PgPool)>> = Mutex::new(Vec::new());
