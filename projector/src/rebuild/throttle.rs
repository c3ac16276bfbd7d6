//! Making room: while the live projection is too far behind, a rebuild reads nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;

use super::progress::Progress;
use super::settings::RebuildSettings;
use crate::engine::standing;

/// How often the lag is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often whoever is held up asks again.
const WAIT: Duration = Duration::from_millis(50);

/// Says whether to go on.
pub(super) struct Throttle {
    held_up: Arc<AtomicBool>,
    _watch: AbortOnDropHandle<()>,
}

impl Throttle {
    /// Watches the active generation of `projection`.
    pub(super) fn new(pool: &PgPool, projection: &'static str, settings: RebuildSettings) -> Self {
        let held_up = Arc::new(AtomicBool::new(false));
        let (pool, told) = (pool.clone(), Arc::clone(&held_up));
        let watch = tokio::spawn(async move {
            loop {
                if let Ok(standings) = standing::read(&pool, Some(projection)).await {
                    // What nobody feeds, or what is paused, does not come up by waiting.
                    let lag = standings
                        .iter()
                        .filter(|one| one.state == "active" && one.fed && !one.paused)
                        .map(|one| one.lag_seconds)
                        .fold(0.0, f64::max);
                    told.store(lag > settings.live_lag_max.as_secs_f64(), Ordering::Relaxed);
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        });
        Self {
            held_up,
            _watch: AbortOnDropHandle::new(watch),
        }
    }

    /// Returns when there is room.
    pub(super) async fn pass(&self, progress: &Progress) {
        while self.held_up.load(Ordering::Relaxed) {
            progress.set_held_up(true);
            tokio::time::sleep(WAIT).await;
        }
        progress.set_held_up(false);
    }
}
