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
    /// Looks at the active generation of `projection`, and watches it from then on.
    pub(super) async fn begin(
        pool: &PgPool,
        projection: &'static str,
        settings: RebuildSettings,
    ) -> Self {
        let lag_max = settings.live_lag_max;
        let first = is_behind(pool, projection, lag_max).await;
        let held_up = Arc::new(AtomicBool::new(first.unwrap_or(false)));
        let (pool, told) = (pool.clone(), Arc::clone(&held_up));
        let watch = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                if let Ok(behind) = is_behind(&pool, projection, lag_max).await {
                    told.store(behind, Ordering::Relaxed);
                }
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

/// What nobody feeds, or what is paused, does not come up by waiting.
async fn is_behind(pool: &PgPool, projection: &str, max: Duration) -> Result<bool, sqlx::Error> {
    let standings = standing::read(pool, Some(projection)).await?;
    let fed = standings
        .iter()
        .filter(|one| one.state == "active" && one.fed && !one.paused);
    let lag = fed.map(|one| one.lag_seconds).fold(0.0, f64::max);
    Ok(lag > max.as_secs_f64())
}
