//! A private PostgreSQL, made for one run of a program or for one test and removed after it, also
//! when that is killed: the server then gets SIGQUIT from the kernel, and the next run removes its
//! folder. It can be killed, started again, followed by a standby, and a standby promoted.

mod place;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

pub use self::place::program;

use self::place::Place;
use crate::eventually;
use crate::spare_port;

/// On a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A running server. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    port: u16,
    settings: String,
    password: String,
    server: Child,
}

impl Cluster {
    /// Makes and starts the server for the program of this name. `settings` are lines of its
    /// configuration, such as how much memory it may have; without any, fsync is on.
    ///
    /// # Errors
    /// When PostgreSQL cannot be found or installed, or does not start; with its own log.
    pub async fn start(program: &str, settings: &str) -> anyhow::Result<Self> {
        let place = Place::make(program)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        place.initialise(&password)?;
        Self::serve(place, settings, password).await
    }

    /// A standby with the primary's settings, which streams from it by way of these options: they
    /// may lead through a proxy.
    ///
    /// # Errors
    /// When the primary cannot be copied, or the standby does not start.
    pub async fn standby_of(primary: &Self, way: &PgConnectOptions) -> anyhow::Result<Self> {
        let place = primary.place.another()?;
        let source = (way.get_host(), way.get_port());
        place.copy_from(source, &primary.password).await?;
        Self::serve(place, &primary.settings, primary.password.clone()).await
    }

    async fn serve(place: Place, settings: &str, password: String) -> anyhow::Result<Self> {
        let port = spare_port();
        let server = place.spawn(port, settings)?;
        let mut cluster = Self {
            place,
            port,
            settings: settings.to_owned(),
            password,
            server,
        };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// How to connect to one of its databases.
    #[must_use]
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .password(&self.password)
            .database(database)
            .disable_statement_logging()
    }

    /// A connection to its maintenance database.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn admin(&self) -> anyhow::Result<PgConnection> {
        let connection = self.options("postgres").connect().await;
        connection.context("connecting to the private PostgreSQL")
    }

    /// A number that a statement gives in its maintenance database.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn number(&self, statement: &str) -> i64 {
        let mut connection = self.admin().await.expect("a connection");
        let number = sqlx::query_scalar(statement).fetch_one(&mut connection);
        number.await.expect("a number")
    }

    /// The postmaster's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Where its data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Clones a template into a fresh database and writes out what is dirty, so that every
    /// measurement begins with the same work behind it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn fresh(&self, name: &str, template: &str) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        admin
            .execute(format!("drop database if exists {name} with (force)").as_str())
            .await?;
        admin
            .execute(format!("create database {name} template {template}").as_str())
            .await?;
        admin.execute("checkpoint").await?;
        admin.close().await.context("closing the connection")
    }

    /// SIGKILL to the postmaster, as a machine that loses power would: what was acknowledged must
    /// be there after [`Self::start_again`].
    ///
    /// # Panics
    /// When the server cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is what is wanted.
        drop(self.server.kill());
        self.server.wait().expect("our own child");
    }

    /// Starts the server again after [`Self::kill`], in the same place; it recovers first. What the
    /// killed one left running keeps it from starting for a moment.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        eventually(START_TIMEOUT, || {
            let ended = self.server.try_wait().expect("our own child").is_some();
            if ended {
                let server = self.place.spawn(self.port, &self.settings);
                self.server = server.expect("a process");
            }
            let options = self.options("postgres");
            async move {
                tokio::time::sleep(POLL).await;
                PgConnection::connect_with(&options).await?.close().await
            }
        })
        .await;
    }

    /// Waits until this standby shows everything that the primary has committed.
    ///
    /// # Panics
    /// When it does not come up to it.
    pub async fn catches_up_with(&self, primary: &Self) {
        const WRITTEN: &str = "select (pg_current_wal_lsn() - '0/0')::bigint";
        const REPLAYED: &str = "select (pg_last_wal_replay_lsn() - '0/0')::bigint";
        let written = primary.number(WRITTEN).await;
        eventually(START_TIMEOUT, || async {
            let replayed = self.number(REPLAYED).await;
            (replayed >= written)
                .then_some(())
                .ok_or((replayed, written))
        })
        .await;
    }

    /// Makes the standby a primary of a timeline of its own.
    ///
    /// # Panics
    /// When it does not become one.
    pub async fn promote(&self) {
        let promoted = self.number("select pg_promote()::integer::bigint").await;
        assert_eq!(promoted, 1, "{}", self.place.log());
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.server.try_wait()? {
                bail!(
                    "PostgreSQL ended ({status}); its log:\n{}",
                    self.place.log()
                );
            }
            match PgConnection::connect_with(&self.options("postgres")).await {
                Ok(connection) => return connection.close().await.context("closing"),
                Err(error) if Instant::now() > deadline => {
                    let log = self.place.log();
                    return Err(error).with_context(|| format!("PostgreSQL's log:\n{log}"));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
}

impl Drop for Cluster {
    /// Immediate: the data are thrown away. A process id that was waited for may be another's.
    fn drop(&mut self) {
        if !matches!(self.server.try_wait(), Ok(None)) {
            return;
        }
        let pid = self.server.id().to_string();
        let kill = Command::new("kill").arg("-QUIT").arg(pid).status();
        if kill.is_ok_and(|status| status.success()) {
            drop(self.server.wait());
        }
    }
}
