//! Stopping without losing anything: not ready → wait → stop accepting → finish → flush.
//!
//! ```text
//! let shutdown = Shutdown::on_signals()?;
//! application.run_until(shutdown.stopped()).await;   // per part of the process
//! ```

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::config::ShutdownSettings;

/// The order to stop, in two steps. Clones are the same order.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopping: CancellationToken,
}

impl Shutdown {
    /// An order that nobody has given yet.
    #[must_use]
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Ends when draining begins: the process should say "not ready", and work on.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Ends when it is time to accept nothing new and finish what runs.
    pub async fn stopped(&self) {
        self.stopping.cancelled().await;
    }

    /// As [`Shutdown::stopped`], for a future that owns what it waits for.
    pub fn stopped_owned(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stopping.clone().cancelled_owned()
    }

    /// What `starting` comes to, or nothing when the order to stop comes first: then it is dropped,
    /// so it must have begun nothing that needs to be ended in order.
    pub async fn unless_draining<T>(&self, starting: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.draining() => None,
            started = starting => Some(started),
        }
    }

    /// True once it is time to stop: every long loop looks at this between batches.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Stops at once, without the wait.
    pub fn stop(&self) {
        self.draining.cancel();
        self.stopping.cancel();
    }

    /// Says "not ready", waits for balancers to notice, then stops.
    pub async fn drain(&self, readiness: &Readiness, wait: Duration) {
        readiness.drain();
        self.draining.cancel();
        tracing::info!(
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "draining"
        );
        tokio::time::sleep(wait).await;
        self.stopping.cancel();
    }

    /// Waits for SIGTERM or SIGINT and then drains; a second signal ends the wait.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn drain_on_signals(
        &self,
        readiness: Readiness,
        settings: ShutdownSettings,
    ) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to stop");
            tokio::select! {
                () = shutdown.drain(&readiness, settings.wait) => {}
                _ = terminate.recv() => shutdown.stop(),
                _ = interrupt.recv() => shutdown.stop(),
            }
        });
        Ok(())
    }
}

/// Gives work its time to finish. False when the time ran out, which is logged.
pub async fn finish_within(what: &str, grace: Duration, work: impl Future<Output = ()>) -> bool {
    let finished = tokio::time::timeout(grace, work).await.is_ok();
    if !finished {
        tracing::warn!(part = what, "did not finish within its time to stop");
    }
    finished
}
