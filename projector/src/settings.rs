//! The settings of the engine.

use std::time::Duration;

use platform::config::{Problems, RedisSettings};

use crate::cache::CacheSettings;
use crate::engine::{BatchLimits, EngineSettings};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A shorter lease could run out between two renewals of a busy process.
const LEASE_MIN: Duration = Duration::from_millis(500);

/// The engine's settings, as they are given.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Projections")]
pub struct ProjectionArgs {
    /// How long a partition stays with a process that does not answer any more
    #[arg(long, env = "PROJECTOR_LEASE", default_value = "10s")]
    pub projector_lease: String,
    /// The most events in one transaction
    #[arg(long, env = "PROJECTION_BATCH_EVENTS", default_value = "1000")]
    pub projection_batch_events: String,
    /// The most row effects in one transaction
    #[arg(long, env = "PROJECTION_BATCH_ROWS", default_value = "20000")]
    pub projection_batch_rows: String,
    /// More parked keys than this in one partition stop the projection: the deploy is suspect
    #[arg(long, env = "PARKED_KEYS_MAX", default_value = "100")]
    pub parked_keys_max: String,
    /// How long a source may be silent before the event store itself is asked
    #[arg(long, env = "SOURCE_SILENCE_MAX", default_value = "250ms")]
    pub source_silence_max: String,
    /// When Redis is more events than this behind, everything in it is given up as cold
    #[arg(long, env = "CACHE_APPLIED_LAG_MAX", default_value = "10000")]
    pub cache_applied_lag_max: String,
}

impl ProjectionArgs {
    /// What is written to Redis, if there is one.
    pub fn cache(
        &self,
        redis: Option<RedisSettings>,
        problems: &mut Problems,
    ) -> Option<CacheSettings> {
        let lag = &self.cache_applied_lag_max;
        let applied_lag_max = problems.number("CACHE_APPLIED_LAG_MAX", lag, 0..=1_000_000);
        redis.map(|redis| CacheSettings {
            redis,
            applied_lag_max,
        })
    }

    /// Parses and checks the group.
    pub fn validate(&self, problems: &mut Problems) -> EngineSettings {
        let lease = &self.projector_lease;
        let silence = &self.source_silence_max;
        let (events, rows) = (&self.projection_batch_events, &self.projection_batch_rows);
        let keys = &self.parked_keys_max;
        EngineSettings {
            lease: problems.duration("PROJECTOR_LEASE", lease, LEASE_MIN..=10 * MINUTE),
            batch: BatchLimits {
                events_max: problems.number("PROJECTION_BATCH_EVENTS", events, 1..=100_000),
                rows_max: problems.number("PROJECTION_BATCH_ROWS", rows, 1..=1_000_000),
            },
            parked_keys_max: problems.number("PARKED_KEYS_MAX", keys, 0..=10_000),
            silence_max: problems.duration("SOURCE_SILENCE_MAX", silence, MILLISECOND..=MINUTE),
        }
    }
}
