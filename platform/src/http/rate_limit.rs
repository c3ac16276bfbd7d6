//! How many requests a principal may send, and how many wrong tokens an address.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{HttpCode, Problem};
use crate::config::RateLimitSettings;

/// Keys held at most. When there are more, the one unused for longest starts anew.
const KEYS_MAX: u64 = 100_000;

/// How long a bucket that was given out may be used without asking for it again.
pub(super) const BUCKET_KEPT_FOR: Duration = Duration::from_secs(1);

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What is left of one key's limit.
pub(super) type Bucket =
    RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// A token bucket per key, for at most 100,000 keys.
pub(super) struct Limits<K: Hash + Eq + Send + Sync + 'static> {
    buckets: Cache<K, Arc<Bucket>>,
    quota: Quota,
    clock: DefaultClock,
    name: &'static str,
    policy: HeaderValue,
    refill_seconds: u64,
}

/// What a request learns of its limit.
pub(super) enum Allowance {
    /// It may pass; so many more may follow at once.
    Pass { remaining: u32 },
    /// It must wait.
    Wait(Duration),
}

impl<K: Hash + Eq + Send + Sync + 'static> Limits<K> {
    pub(super) fn new(name: &'static str, settings: RateLimitSettings) -> Limits<K> {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let (rate, burst) = (
            at_least_one(settings.per_second),
            at_least_one(settings.burst),
        );
        let refill_seconds = u64::from(burst.get()).div_ceil(u64::from(rate.get()));
        let policy = format!("\"{name}\";q={burst};w={refill_seconds}");
        Limits {
            // A bucket that nobody used while it filled up is like a new one. Who keeps it may
            // have used it for a while after it was last asked for here.
            buckets: Cache::builder()
                .max_capacity(KEYS_MAX)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(Duration::from_secs(refill_seconds) + BUCKET_KEPT_FOR)
                .build(),
            quota: Quota::per_second(rate).allow_burst(burst),
            clock: DefaultClock::default(),
            name,
            policy: HeaderValue::from_str(&policy).expect("a name and two numbers are ASCII"),
            refill_seconds,
        }
    }

    /// Counts a request.
    pub(super) fn count(&self, key: K) -> Allowance {
        self.take(&self.bucket(key))
    }

    /// The bucket of a key, to be kept for at most [`BUCKET_KEPT_FOR`]: afterwards, or when there
    /// were too many keys meanwhile, another one may stand in its place.
    pub(super) fn bucket(&self, key: K) -> Arc<Bucket> {
        self.buckets.get_with(key, || {
            let limiter = RateLimiter::direct_with_clock(self.quota, self.clock.clone());
            Arc::new(limiter.with_middleware::<StateInformationMiddleware>())
        })
    }

    /// Counts a request against a bucket.
    pub(super) fn take(&self, bucket: &Bucket) -> Allowance {
        match bucket.check() {
            Ok(state) => Allowance::Pass {
                remaining: state.remaining_burst_capacity(),
            },
            Err(refusal) => Allowance::Wait(refusal.wait_time_from(self.clock.now())),
        }
    }

    /// Tells the client where it stands (draft-ietf-httpapi-ratelimit-headers).
    pub(super) fn show(&self, remaining: u32, headers: &mut HeaderMap) {
        let Limits {
            name,
            refill_seconds,
            ..
        } = self;
        let text = format!("\"{name}\";r={remaining};t={refill_seconds}");
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(RATE_LIMIT, value);
        }
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
    }

    /// The answer to a request that must wait.
    pub(super) fn refusal(&self, wait: Duration) -> Problem {
        let mut headers = HeaderMap::new();
        self.show(0, &mut headers);
        let problem = Problem::new(HttpCode::RateLimited).retry_after(wait);
        headers.into_iter().fold(problem, |problem, (name, value)| {
            problem.header(name, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_burst_and_is_told_how_long_to_wait() {
        let limits = Limits::new(
            "principal",
            RateLimitSettings {
                per_second: 1,
                burst: 3,
            },
        );
        for left in [2, 1, 0] {
            let Allowance::Pass { remaining } = limits.count("a") else {
                panic!("refused")
            };
            assert_eq!(remaining, left);
        }
        let Allowance::Wait(wait) = limits.count("a") else {
            panic!("a fourth one passed")
        };
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert!(matches!(limits.count("b"), Allowance::Pass { .. }));

        let answer = limits.refusal(wait).response(None);
        let header = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(answer.status().as_u16(), 429);
        assert_eq!(header("retry-after"), "1");
        assert_eq!(header("ratelimit-policy"), "\"principal\";q=3;w=3");
        assert_eq!(header("ratelimit"), "\"principal\";r=0;t=3");
    }

    #[test]
    fn no_more_than_100_000_keys_are_held() {
        let limits = Limits::new(
            "principal",
            RateLimitSettings {
                per_second: 1,
                burst: 600,
            },
        );
        for key in 0..KEYS_MAX + 5_000 {
            limits.count(key);
        }
        limits.buckets.run_pending_tasks();
        assert!(
            limits.buckets.entry_count() <= KEYS_MAX,
            "{}",
            limits.buckets.entry_count()
        );
    }
}
