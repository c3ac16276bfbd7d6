//! How this process speaks to PostgreSQL.

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use super::Problems;

const HOUR: Duration = Duration::from_secs(3600);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The database's settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// postgres://user:password@host:port/database; when unset, RUNNEL_HOME/env is read
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// A file that holds DATABASE_URL
    #[arg(long, env = "DATABASE_URL_FILE")]
    pub database_url_file: Option<String>,
    /// Connections for commands
    #[arg(long, env = "DB_POOL_COMMAND", default_value = "8")]
    pub db_pool_command: String,
    /// Connections for reads
    #[arg(long, env = "DB_POOL_QUERY", default_value = "8")]
    pub db_pool_query: String,
    /// Connections for relays to Kafka
    #[arg(long, env = "DB_POOL_RELAY", default_value = "2")]
    pub db_pool_relay: String,
    /// Connections for projections
    #[arg(long, env = "DB_POOL_PROJECTOR", default_value = "4")]
    pub db_pool_projector: String,
    /// Connections for health checks and operator commands
    #[arg(long, env = "DB_POOL_ADMIN", default_value = "2")]
    pub db_pool_admin: String,
    /// How long to wait for a free connection
    #[arg(long, env = "DB_ACQUIRE_TIMEOUT", default_value = "1s")]
    pub db_acquire_timeout: String,
    /// After how long a connection is replaced
    #[arg(long, env = "DB_CONNECTION_LIFETIME", default_value = "5m")]
    pub db_connection_lifetime: String,
    /// After how long an idle connection above the pool's minimum is closed
    #[arg(long, env = "DB_IDLE_TIMEOUT", default_value = "30s")]
    pub db_idle_timeout: String,
    /// How long a statement may run
    #[arg(long, env = "DB_STATEMENT_TIMEOUT", default_value = "2s")]
    pub db_statement_timeout: String,
    /// How long a statement may wait for a lock
    #[arg(long, env = "DB_LOCK_TIMEOUT", default_value = "500ms")]
    pub db_lock_timeout: String,
    /// How long a transaction may stay open without a statement
    #[arg(long, env = "DB_IDLE_IN_TRANSACTION_TIMEOUT", default_value = "5s")]
    pub db_idle_in_transaction_timeout: String,
}

/// Validated [`DatabaseArgs`].
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The whole URL, password included.
    pub url: SecretString,
    /// Connections of each pool.
    pub pools: PoolSizes,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Longest life of a connection.
    pub connection_lifetime: Duration,
    /// Longest idle time of a connection above the minimum.
    pub idle_timeout: Duration,
    /// What each session is told.
    pub session: SessionTimeouts,
}

/// Connections of each pool, its minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names say it: one pool for each kind of work"
)]
pub struct PoolSizes {
    pub command: u32,
    pub query: u32,
    pub relay: u32,
    pub projector: u32,
    pub admin: u32,
}

/// Time-outs that PostgreSQL itself keeps, per session; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimeouts {
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
    /// `idle_in_transaction_session_timeout`.
    pub idle_in_transaction: Duration,
}

impl DatabaseArgs {
    /// Parses and checks the group.
    pub fn validate(&self, problems: &mut Problems) -> DatabaseSettings {
        let mut pool = |name, text: &str| problems.number(name, text, 1..=1000);
        let pools = PoolSizes {
            command: pool("DB_POOL_COMMAND", &self.db_pool_command),
            query: pool("DB_POOL_QUERY", &self.db_pool_query),
            relay: pool("DB_POOL_RELAY", &self.db_pool_relay),
            projector: pool("DB_POOL_PROJECTOR", &self.db_pool_projector),
            admin: pool("DB_POOL_ADMIN", &self.db_pool_admin),
        };
        let mut time = |name, text: &str| problems.duration(name, text, MILLISECOND..=HOUR);
        let acquire_timeout = time("DB_ACQUIRE_TIMEOUT", &self.db_acquire_timeout);
        let connection_lifetime = time("DB_CONNECTION_LIFETIME", &self.db_connection_lifetime);
        let idle_timeout = time("DB_IDLE_TIMEOUT", &self.db_idle_timeout);
        let session = SessionTimeouts {
            statement: time("DB_STATEMENT_TIMEOUT", &self.db_statement_timeout),
            lock: time("DB_LOCK_TIMEOUT", &self.db_lock_timeout),
            idle_in_transaction: time(
                "DB_IDLE_IN_TRANSACTION_TIMEOUT",
                &self.db_idle_in_transaction_timeout,
            ),
        };
        problems.require(
            session.lock <= session.statement,
            "DB_LOCK_TIMEOUT",
            "is longer than DB_STATEMENT_TIMEOUT, so it would never be met",
        );
        let url = self.url(problems);
        DatabaseSettings {
            url,
            pools,
            acquire_timeout,
            connection_lifetime,
            idle_timeout,
            session,
        }
    }

    fn url(&self, problems: &mut Problems) -> SecretString {
        let (value, file) = (
            self.database_url.as_deref(),
            self.database_url_file.as_deref(),
        );
        let Some(url) = problems.secret("DATABASE_URL", value, file) else {
            if value.is_none() && file.is_none() {
                problems.add(
                    "DATABASE_URL",
                    "is required: set it, or DATABASE_URL_FILE, or start `runnel up`, \
                     which writes RUNNEL_HOME/env",
                );
            }
            return SecretString::from("");
        };
        // The parser's own error could quote the password; so it is not shown.
        let text = url.expose_secret();
        let ours = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !ours || PgConnectOptions::from_str(text).is_err() {
            problems.add(
                "DATABASE_URL",
                "is not postgres://user:password@host:port/database",
            );
        }
        url
    }
}
