//! The metrics of the read path, in the process-wide registry; one function per occurrence.

use std::sync::LazyLock;
use std::time::Duration;

use platform::metrics::SECONDS_BUCKETS;
use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, register_histogram_vec,
    register_int_counter_vec, register_int_gauge,
};

const REGISTERED_ONCE: &str = "each metric's name is registered in one place only";

static CACHE_REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "cache_requests_total",
        "Look-ups in a layer of the cache by kind of value and result",
        &["layer", "kind", "result"]
    )
    .expect(REGISTERED_ONCE)
});

/// The handles by kind and result: a hit must not look them up by label.
static LOOKUPS: LazyLock<[[IntCounter; 4]; 2]> = LazyLock::new(|| {
    [Kind::User, Kind::List].map(|kind| {
        Lookup::ALL
            .map(|lookup| CACHE_REQUESTS.with_label_values(&["l1", kind.label(), lookup.label()]))
    })
});

/// The same for Redis.
static SHARED_LOOKUPS: LazyLock<[IntCounter; 4]> = LazyLock::new(|| {
    InShared::ALL
        .map(|one| CACHE_REQUESTS.with_label_values(&["redis", Kind::User.label(), one.label()]))
});

static TOKEN_WAIT: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "token_wait_seconds",
        "How long reads waited for the position of their token",
        &["outcome"],
        SECONDS_BUCKETS.to_vec()
    )
    .expect(REGISTERED_ONCE)
});

static L1_ENTRIES: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("cache_l1_entries", "Entries of the in-process cache")
        .expect(REGISTERED_ONCE)
});

/// What a look-up asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One user.
    User,
    /// A page of users.
    List,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::List => "list",
        }
    }
}

/// What a look-up found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    /// A fresh value.
    Hit,
    /// The fresh knowledge that there is none.
    Negative,
    /// Nothing that can be served.
    Miss,
    /// An old value, served because the database failed.
    Stale,
}

impl Lookup {
    const ALL: [Self; 4] = [Self::Hit, Self::Negative, Self::Miss, Self::Stale];

    fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Negative => "negative",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

/// What a look-up in Redis found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InShared {
    /// A value that can be served.
    Hit,
    /// None, a cold one, or a foreign one.
    Miss,
    /// A value that is older than the read needs.
    Behind,
    /// No answer within the budget, or the breaker is open.
    Error,
}

impl InShared {
    const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Behind, Self::Error];

    fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Behind => "behind",
            Self::Error => "error",
        }
    }
}

/// Makes every series exist from 0.
pub(crate) fn register() {
    LazyLock::force(&LOOKUPS);
    LazyLock::force(&SHARED_LOOKUPS);
    LazyLock::force(&platform::metrics::CACHE_FOREIGN);
    for outcome in ["reached", "timed_out"] {
        let _ = TOKEN_WAIT.with_label_values(&[outcome]);
    }
    LazyLock::force(&L1_ENTRIES);
}

/// A look-up in the in-process cache.
pub(crate) fn looked_up(kind: Kind, lookup: Lookup) {
    LOOKUPS[kind as usize][lookup as usize].inc();
}

/// A foreign value was found in Redis and deleted.
pub(crate) fn foreign_value() {
    platform::metrics::CACHE_FOREIGN.inc();
}

/// A look-up in Redis.
pub(crate) fn looked_up_shared(found: InShared) {
    SHARED_LOOKUPS[found as usize].inc();
}

/// A read waited for its token.
pub(crate) fn waited(time: Duration, reached: bool) {
    let outcome = if reached { "reached" } else { "timed_out" };
    TOKEN_WAIT
        .with_label_values(&[outcome])
        .observe(time.as_secs_f64());
}

/// How many entries the in-process cache holds.
pub(crate) fn l1_entries(entries: u64) {
    L1_ENTRIES.set(i64::try_from(entries).unwrap_or(i64::MAX));
}
