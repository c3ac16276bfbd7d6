//! The whole system as OS processes of the built binaries, for tests that kill them: a database,
//! keys and ports of its own, spoken to over HTTP and judged by what stands in the tables.
//!
//! | module | what it holds |
//! |---|---|
//! | [`binaries`] | where the built binaries are; builds them when they are missing or stale |
//! | [`process`], [`node`] | a process that can be killed, and one that serves |
//! | [`tokens`], [`client`] | who asks, and how |
//! | [`command`] | the commands, and who sends them and writes down the answers |
//! | [`ledger`] | what clients were told, checked against the log (I1, I2) |
//! | [`log`], [`tail`] | the log's own shape, and what a reader saw of it (I2, I3) |
//! | [`view`] | every row of `user_view` against an independent fold of its events (I5) |
//! | [`canary`] | texts that must not be seen elsewhere (I9) |
//! | [`session`] | what a session with tokens was shown, and whether it went back (I6, I7) |
//! | [`proxy`] | a TCP proxy in front of PostgreSQL that can lose a commit, or lead elsewhere |

pub mod binaries;
pub mod canary;
pub mod client;
pub mod command;
pub mod ledger;
pub mod log;
pub mod node;
pub mod process;
pub mod proxy;
pub mod session;
pub mod tail;
pub mod tokens;
pub mod view;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};
use tempfile::TempDir;

use crate::TestDatabase;
use crate::database::TEST_PARTITIONS;

pub use client::{Answer, Client, Unanswered};
pub use command::{Command, Writer};
pub use ledger::Ledger;
pub use log::EventLog;
pub use node::{Node, Service};
pub use process::Process;
pub use session::Session;
pub use tokens::{Tokens, Who};

/// A database with a store in it, and everything that processes need to work on it.
pub struct Pipeline {
    /// Kept until the test ends; none when the server is the test's own.
    database: Option<TestDatabase>,
    options: PgConnectOptions,
    pool: PgPool,
    home: TempDir,
    tokens: Tokens,
    started: AtomicU32,
}

impl Pipeline {
    /// Makes the database, the keys and, with `runnel migrate`, the store.
    ///
    /// # Panics
    /// When any of it fails: the test cannot run.
    pub async fn create() -> Self {
        let database = TestDatabase::create().await;
        let (options, pool) = (database.options(), database.pool());
        Self::with(Some(database), options, pool).await
    }

    /// The same in an empty database of a server of the test's own.
    ///
    /// # Panics
    /// When any of it fails.
    pub async fn create_on(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new().max_connections(4);
        let pool = pool.connect_lazy_with(options.clone());
        Self::with(None, options, pool).await
    }

    async fn with(database: Option<TestDatabase>, options: PgConnectOptions, pool: PgPool) -> Self {
        tokio::task::spawn_blocking(binaries::build)
            .await
            .expect("the binaries are built");
        let home = TempDir::new().expect("a folder for keys and logs");
        let tokens = Tokens::generate(&home.path().join("jwks.json"));
        let pipeline = Self {
            database,
            options,
            pool,
            home,
            tokens,
            started: AtomicU32::new(0),
        };
        pipeline.run("runnel", &["migrate"]).await;
        pipeline
    }

    /// The database's pool, for what a test looks up itself.
    #[must_use]
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// The database's URL.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    /// The database.
    ///
    /// # Panics
    /// When the server is the test's own.
    #[must_use]
    pub fn database(&self) -> &TestDatabase {
        self.database
            .as_ref()
            .expect("a database of the shared server")
    }

    /// Signs bearer tokens that its processes accept.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// A folder that goes with the test.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts a process and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start(&self, service: Service) -> Node {
        self.start_with(service, &[]).await
    }

    /// The same with some settings of its own.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_with(&self, service: Service, settings: &[(&str, &str)]) -> Node {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.home.path().join(format!("{service}-{number}.log"));
        let mut environment = self.environment();
        for (name, value) in settings {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        Node::start(service, environment, log).await
    }

    /// Runs a command of a binary to its end.
    ///
    /// # Panics
    /// When it cannot be run or fails.
    pub async fn run(&self, binary: &str, arguments: &[&str]) -> Output {
        let output = self.try_run(binary, arguments).await;
        assert!(
            output.status.success(),
            "{binary} {arguments:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// The same, whatever its exit code.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn try_run(&self, binary: &str, arguments: &[&str]) -> Output {
        process::run(&binaries::path(binary), arguments, &self.environment()).await
    }

    /// The whole log as it stands now.
    ///
    /// # Panics
    /// When the database cannot be read.
    pub async fn event_log(&self) -> EventLog {
        EventLog::read(&self.pool()).await.expect("the event table")
    }

    /// The log files of all processes that it started.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home.path()).expect("the test's folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect()
    }

    /// Short waits, so that tests of bounds are short; no rate limit, so that load is load.
    fn environment(&self) -> Vec<(String, String)> {
        const SECRET: &str = "7f2c9be0a1d34c55867e09aa1f00c3d27f2c9be0a1d34c55867e09aa1f00c3d2";
        let text = |path: &Path| path.display().to_string();
        let partitions = TEST_PARTITIONS.to_string();
        let settings = [
            ("DATABASE_URL", self.database_url()),
            ("RUNNEL_HOME", text(self.home.path())),
            ("JWKS", text(&self.home.path().join("jwks.json"))),
            ("JWT_ISSUER", tokens::ISSUER.to_owned()),
            ("JWT_AUDIENCE", tokens::AUDIENCE.to_owned()),
            ("SECRET_KEY", SECRET.to_owned()),
            ("STORE_PARTITIONS", partitions),
            ("RATE_LIMIT_PER_SECOND", "0".to_owned()),
            ("SHUTDOWN_WAIT", "0s".to_owned()),
            // See `client::IDLE_MAX`.
            ("HTTP_HEAD_TIMEOUT", "10s".to_owned()),
            ("PROJECTOR_LEASE", "2s".to_owned()),
            // Connecting is slow in a binary that is not optimised, and slower when several start
            // at once.
            ("DB_ACQUIRE_TIMEOUT", "5s".to_owned()),
            ("DB_POOL_COMMAND", "4".to_owned()),
            ("DB_POOL_QUERY", "4".to_owned()),
            ("WORKER_THREADS", "2".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }
}
