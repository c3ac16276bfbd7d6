//! The sweep of expired answers, beside the lanes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::EventStore;

/// How often expired answers are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Sweeps expired answers until `stop`.
pub(super) async fn sweep_outcomes(store: EventStore, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = store.sweep_outcomes().await {
            tracing::warn!(error = %error, "expired answers could not be swept");
        }
    }
}
