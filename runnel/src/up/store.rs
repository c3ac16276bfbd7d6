//! The database that everything stands on: a private cluster, or the one that DATABASE_URL names.

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::task::spawn_blocking;

use super::guard::Guard;
use super::settings::UpSettings;
use crate::cluster::{Cluster, ClusterSettings, Found};
use crate::home::Home;

/// A database that answers.
pub(super) struct Store {
    /// None when the database is not ours to start and stop.
    guard: Option<Guard>,
    /// The private cluster's URL.
    pub(super) url: Option<SecretString>,
    /// For people.
    pub(super) described: String,
}

impl Store {
    /// Starts the private cluster, or nothing when DATABASE_URL is set.
    ///
    /// # Errors
    /// When there is no PostgreSQL to start, or it does not start.
    pub(super) async fn open(home: &Home, settings: &UpSettings) -> anyhow::Result<Store> {
        if !settings.own_database {
            let described = "the PostgreSQL that DATABASE_URL names".to_owned();
            return Ok(Store {
                guard: None,
                url: None,
                described,
            });
        }
        let home = home.clone();
        let wanted = ClusterSettings {
            programs: settings.programs.clone(),
            memory_limit: settings.command.process.memory_limit,
        };
        let started = spawn_blocking(move || Cluster::start(&home, &wanted));
        let (cluster, found) = started.await.context("starting PostgreSQL panicked")??;
        let described = describe(&cluster, found);
        // From here on an error must not leave the server running unwatched.
        let database = cluster.ensure_database().await;
        let guard = Guard::watch(cluster);
        match database {
            Ok(url) => Ok(Store {
                guard: Some(guard),
                url: Some(url),
                described,
            }),
            Err(error) => {
                guard.stop().await?;
                Err(error)
            }
        }
    }

    /// Stops the private cluster: the last thing of all.
    ///
    /// # Errors
    /// When it does not stop.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self.guard {
            Some(guard) => guard.stop().await,
            None => Ok(()),
        }
    }
}

fn describe(cluster: &Cluster, found: Found) -> String {
    let past = match found {
        Found::Nothing => "made just now",
        Found::Stopped => "with the data of earlier runs",
        Found::Crashed => "recovered after a crash",
        Found::Orphaned => "left running by a `runnel up` that was killed; adopted",
    };
    format!(
        "a private PostgreSQL {} on 127.0.0.1:{}, run as {}, in {} ({past})",
        cluster.version(),
        cluster.port(),
        cluster.account_name(),
        cluster.folder().display(),
    )
}
