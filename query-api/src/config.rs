//! The settings of the query API.

use std::net::SocketAddr;
use std::time::Duration;

use platform::config::{
    AuthArgs, AuthSettings, DatabaseArgs, DatabaseSettings, HttpArgs, HttpSettings, Problems,
    ProcessArgs, ProcessSettings, RedisArgs, RedisSettings, SecretArgs, SecretSettings,
    ShutdownArgs, ShutdownSettings,
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);
const GIB: u64 = 1 << 30;

/// Part of the memory limit that the in-process cache may take: a quarter, at most 1 GiB.
const CACHE_PART: u64 = 4;

/// The settings that only this API has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Queries")]
pub struct QueryArgs {
    /// Where queries are answered
    #[arg(long, env = "QUERY_LISTEN", default_value = "127.0.0.1:8081")]
    pub query_listen: String,
    /// How long a read waits for the position of its Consistency-Token
    #[arg(long, env = "TOKEN_WAIT", default_value = "2s")]
    pub token_wait: String,
    /// The longest such wait that a client can ask for with Prefer: wait=
    #[arg(long, env = "TOKEN_WAIT_MAX", default_value = "4s")]
    pub token_wait_max: String,
    /// How old an answer from the in-process cache can be
    #[arg(long, env = "CACHE_L1_FRESH", default_value = "1s")]
    pub cache_l1_fresh: String,
    /// How long the in-process cache keeps answers to serve while PostgreSQL fails
    #[arg(long, env = "CACHE_STALE_MAX", default_value = "10m")]
    pub cache_stale_max: String,
    /// Memory for the in-process cache; default: 25 % of the memory limit, at most 1GiB
    #[arg(long, env = "CACHE_L1_MAX")]
    pub cache_l1_max: Option<String>,
}

/// Validated [`QueryArgs`].
#[derive(Debug, Clone)]
pub struct QuerySettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// How long a read waits for its token.
    pub token_wait: Duration,
    /// The longest wait that a client can ask for.
    pub token_wait_max: Duration,
    /// How long a cached answer is fresh.
    pub cache_fresh: Duration,
    /// How long a cached answer is kept.
    pub cache_stale_max: Duration,
    /// Bytes of the cache.
    pub cache_max: u64,
}

impl QueryArgs {
    /// Parses and checks the group.
    pub fn validate(&self, process: &ProcessSettings, problems: &mut Problems) -> QuerySettings {
        let up_to_minute = || Duration::ZERO..=MINUTE;
        let fresh = MILLISECOND..=MINUTE;
        let token_wait = problems.duration("TOKEN_WAIT", &self.token_wait, up_to_minute());
        let token_wait_max =
            problems.duration("TOKEN_WAIT_MAX", &self.token_wait_max, up_to_minute());
        problems.require(
            token_wait <= token_wait_max,
            "TOKEN_WAIT",
            "is longer than TOKEN_WAIT_MAX",
        );
        QuerySettings {
            listen: problems.listen("QUERY_LISTEN", &self.query_listen),
            token_wait,
            token_wait_max,
            cache_fresh: problems.duration("CACHE_L1_FRESH", &self.cache_l1_fresh, fresh),
            cache_stale_max: problems.duration(
                "CACHE_STALE_MAX",
                &self.cache_stale_max,
                MILLISECOND..=24 * HOUR,
            ),
            cache_max: match &self.cache_l1_max {
                Some(text) => problems.size("CACHE_L1_MAX", text, 0..=u64::MAX),
                None => (process.memory_limit / CACHE_PART).min(GIB),
            },
        }
    }
}

/// Every group that a query API needs; `runnel up` flattens the same groups once for all services.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap shows the text of a flattened field as help"
    )]
    pub query: QueryArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub http: HttpArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub auth: AuthArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub secret: SecretArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub redis: RedisArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub process: ProcessArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub shutdown: ShutdownArgs,
}

/// Everything that [`crate::Application::build`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API's own settings.
    pub query: QuerySettings,
    /// Limits of the data port.
    pub http: HttpSettings,
    /// Whose tokens are believed.
    pub auth: AuthSettings,
    /// The secret.
    pub secret: SecretSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// The cache that processes share, when there is one.
    pub redis: Option<RedisSettings>,
    /// Mode, memory and threads.
    pub process: ProcessSettings,
    /// How to stop.
    pub shutdown: ShutdownSettings,
}

impl ServiceArgs {
    /// Parses and checks every group.
    pub fn validate(&self, problems: &mut Problems) -> Config {
        let process = self.process.validate(problems);
        Config {
            query: self.query.validate(&process, problems),
            http: self.http.validate(problems),
            auth: self.auth.validate(problems),
            secret: self.secret.validate(process.mode, problems),
            database: self.database.validate(problems),
            redis: self.redis.validate(problems),
            shutdown: self.shutdown.validate("3s", problems),
            process,
        }
    }
}
