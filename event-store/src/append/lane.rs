//! The loop of one lane.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{AppendSettings, Heads};
use crate::entry::{AppendError, Entry, Verdict};
use crate::store::EventStore;

/// How often expired answers are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// An entry that waits, and where its verdict goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) answer: oneshot::Sender<Result<Verdict, AppendError>>,
}

/// What a lane is made of.
pub(super) struct LaneSettings {
    pub(super) number: u16,
    pub(super) store: EventStore,
    pub(super) options: PgConnectOptions,
    pub(super) append: AppendSettings,
    pub(super) heads: Arc<watch::Sender<Heads>>,
    pub(super) stop: CancellationToken,
}

pub(super) fn start(
    lane: LaneSettings,
    mut jobs: mpsc::Receiver<Job>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("append-{}", lane.number))
        .spawn(move || {
            while let Some(job) = jobs.blocking_recv() {
                drop(job.answer.send(Err(AppendError::Unavailable)));
            }
        })
}

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
