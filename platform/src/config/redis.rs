//! Where Redis is, how long it may take, and how long values stay in it.

use std::time::Duration;

use redis::IntoConnectionInfo as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::Problems;

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The Redis settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisArgs {
    /// redis://:password@host:port/0, or rediss:// for TLS; unset = no shared cache
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// A file that holds REDIS_URL
    #[arg(long, env = "REDIS_URL_FILE")]
    pub redis_url_file: Option<String>,
    /// How long any call to Redis may take, connecting included; then it is done without
    #[arg(long, env = "REDIS_TIMEOUT", default_value = "30ms")]
    pub redis_timeout: String,
    /// How long a user stays in Redis after it was written there
    #[arg(long, env = "CACHE_TTL_USER", default_value = "10m")]
    pub cache_ttl_user: String,
}

/// Validated [`RedisArgs`].
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// The whole URL, password included.
    pub url: SecretString,
    /// The budget of every call.
    pub timeout: Duration,
    /// The TTL of a user.
    pub ttl_user: Duration,
}

impl RedisArgs {
    /// Parses and checks the group; none when there is no Redis.
    pub fn validate(&self, problems: &mut Problems) -> Option<RedisSettings> {
        let timeout = &self.redis_timeout;
        let timeout =
            problems.duration("REDIS_TIMEOUT", timeout, MILLISECOND..=10_000 * MILLISECOND);
        let ttl = &self.cache_ttl_user;
        let ttl_user = problems.duration("CACHE_TTL_USER", ttl, 1_000 * MILLISECOND..=30 * DAY);
        let given = self.redis_url.as_deref().map(str::trim);
        let (value, file) = (given.filter(|url| !url.is_empty()), &self.redis_url_file);
        let url = problems.secret("REDIS_URL", value, file.as_deref())?;
        // The parser's own error could quote the password; so it is not shown.
        problems.require(
            url.expose_secret().into_connection_info().is_ok(),
            "REDIS_URL",
            "is not redis://:password@host:port/0",
        );
        Some(RedisSettings {
            url,
            timeout,
            ttl_user,
        })
    }
}
