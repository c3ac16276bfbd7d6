//! What a rebuild is asked to do, and within which limits.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::BatchLimits;

/// The limits of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildSettings {
    /// How many partitions are read at a time (`--parallelism`).
    pub parallelism: usize,
    /// How many bytes all folds in memory may hold together (`--memory`).
    pub memory_bytes: usize,
    /// Events of one closed range (`--range-events`).
    pub range_events: u32,
    /// One transaction, where batches are applied.
    pub batch: BatchLimits,
    /// More parked keys than this in one partition end the rebuild.
    pub parked_keys_max: usize,
    /// How long a rebuild that does not answer keeps others out (`--lease`).
    pub lease: Duration,
    /// While the live projection is further behind than this, nothing is read (`--live-lag-max`).
    pub live_lag_max: Duration,
    /// How long it is waited for the live checkpoints, and for a moment to switch (`--patience`).
    pub patience: Duration,
}

impl Default for RebuildSettings {
    fn default() -> Self {
        Self {
            parallelism: std::thread::available_parallelism().map_or(2, usize::from),
            memory_bytes: 512 * 1024 * 1024,
            range_events: 5_000,
            batch: BatchLimits {
                events_max: 5_000,
                rows_max: 20_000,
            },
            parked_keys_max: 100,
            lease: Duration::from_secs(10),
            live_lag_max: Duration::from_secs(5),
            patience: Duration::from_secs(60),
        }
    }
}

impl RebuildSettings {
    /// How many connections a run uses: a reader and a writer a slice, and the lease, the look at
    /// the lag, a lock, a snapshot and the statistics.
    #[must_use]
    pub fn connections(&self) -> u32 {
        u32::try_from(2 * self.parallelism + 5).unwrap_or(u32::MAX)
    }
}

/// What becomes of a generation that was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is shown.
    Switch,
    /// It is dropped again: only the comparison was wanted.
    Compare,
}

/// What need not add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Keys may be parked (`--allow-parked`).
    pub parked: bool,
    /// In these columns rows may differ from what is shown (`--allow-differences`).
    pub columns: BTreeSet<String>,
    /// Rows may be there on one side only (`--allow-differences rows`).
    pub rows: bool,
}

impl Allowed {
    /// Takes the words of `--allow-differences`: columns, or `rows`.
    #[must_use]
    pub fn differences(mut self, words: impl IntoIterator<Item = String>) -> Self {
        for word in words {
            if word == "rows" {
                self.rows = true;
            } else {
                self.columns.insert(word);
            }
        }
        self
    }
}
