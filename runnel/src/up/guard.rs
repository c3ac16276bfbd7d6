//! Keeps the private PostgreSQL running while `runnel up` does, and stops it last.

use std::time::Duration;

use anyhow::Context as _;
use platform::shutdown::Shutdown;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::cluster::Cluster;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A watched cluster. Dropping it leaves the server running, for the next start to adopt.
pub(super) struct Guard {
    cluster: Cluster,
    watch: JoinHandle<()>,
    over: Shutdown,
}

impl Guard {
    /// Looks after the server every second: one that crashed or was killed is started again on
    /// its port, and the services heal by themselves.
    pub(super) fn watch(cluster: Cluster) -> Guard {
        let over = Shutdown::new();
        let watch = tokio::spawn(keep_alive(cluster.clone(), over.clone()));
        Guard {
            cluster,
            watch,
            over,
        }
    }

    /// Stops the server.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.over.stop();
        self.watch
            .await
            .context("the watch over PostgreSQL panicked")?;
        spawn_blocking(move || self.cluster.stop())
            .await
            .context("stopping PostgreSQL panicked")?
    }
}

async fn keep_alive(mut cluster: Cluster, over: Shutdown) {
    loop {
        tokio::select! {
            () = over.stopped() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let looked = spawn_blocking(move || {
            let revived = cluster.revive();
            (cluster, revived)
        });
        match looked.await {
            Ok((same, revived)) => {
                cluster = same;
                match revived {
                    Ok(false) => {}
                    Ok(true) => tracing::warn!("the private PostgreSQL was gone; started it again"),
                    Err(error) => tracing::error!(
                        error = format!("{error:#}"),
                        "the private PostgreSQL is gone and does not start"
                    ),
                }
            }
            Err(error) => {
                tracing::error!(%error, "the look after the private PostgreSQL failed");
                return;
            }
        }
    }
}
