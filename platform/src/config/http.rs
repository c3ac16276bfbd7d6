//! Limits of the HTTP data port. A limit stands on everything a client can make large or slow.

use std::time::Duration;

use super::{Problems, parse_proxies};
use crate::http::ProxyNet;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const BODY_MAX_LIMIT: u64 = 64 << 20;

/// The data port's settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// How long a client may take to send a request's head
    #[arg(long, env = "HTTP_HEAD_TIMEOUT", default_value = "2s")]
    pub http_head_timeout: String,
    /// How long a client may take to send a request's body
    #[arg(long, env = "HTTP_READ_TIMEOUT", default_value = "5s")]
    pub http_read_timeout: String,
    /// The slowest rate, after the first second, at which a body may arrive, a second
    #[arg(long, env = "HTTP_BODY_RATE_MIN", default_value = "1KiB")]
    pub http_body_rate_min: String,
    /// How long a client may leave a response unread without taking a byte
    #[arg(long, env = "HTTP_WRITE_TIMEOUT", default_value = "10s")]
    pub http_write_timeout: String,
    /// How long an idle connection is kept; 0 closes after each response
    #[arg(long, env = "HTTP_KEEP_ALIVE", default_value = "60s")]
    pub http_keep_alive: String,
    /// The largest request body
    #[arg(long, env = "HTTP_BODY_MAX", default_value = "64KiB")]
    pub http_body_max: String,
    /// How many connections a worker thread holds; the next ones wait to be accepted
    #[arg(long, env = "HTTP_CONNECTIONS_MAX", default_value = "4096")]
    pub http_connections_max: String,
    /// How long a read may take before it is answered 503
    #[arg(long, env = "READ_DEADLINE", default_value = "5s")]
    pub read_deadline: String,
    /// Requests a second that one principal may send; 0 turns the limit off
    #[arg(long, env = "RATE_LIMIT_PER_SECOND", default_value = "1000")]
    pub rate_limit_per_second: String,
    /// Requests that one principal may send at once before the rate counts
    #[arg(long, env = "RATE_LIMIT_BURST", default_value = "2000")]
    pub rate_limit_burst: String,
    /// Proxies (addresses or networks, comma-separated) whose X-Forwarded-For is believed
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "")]
    pub trusted_proxies: String,
    /// Origins (comma-separated, `https://app.example.org`) that browsers may call from
    #[arg(long, env = "CORS_ORIGINS", default_value = "")]
    pub cors_origins: String,
}

/// Validated [`HttpArgs`].
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// How long a head may take.
    pub head_timeout: Duration,
    /// How long a body may take.
    pub read_timeout: Duration,
    /// Bytes a second below which a body is too slow, after its first second.
    pub body_rate_min: u64,
    /// How long a response may stay unread without progress.
    pub write_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Largest body in bytes.
    pub body_max: usize,
    /// Connections held by a worker thread.
    pub connections_max: usize,
    /// Deadline of a read.
    pub read_deadline: Duration,
    /// The limit per principal; none when it is off.
    pub rate_limit: Option<RateLimitSettings>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<ProxyNet>,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
}

/// How many requests one principal may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// Requests a second, at least 1.
    pub per_second: u32,
    /// Requests at once, at least 1.
    pub burst: u32,
}

impl HttpArgs {
    /// Parses and checks the group.
    pub fn validate(&self, problems: &mut Problems) -> HttpSettings {
        let up_to_hour = MILLISECOND..=HOUR;
        let up_to_minute = MILLISECOND..=MINUTE;
        let body_max = problems.size("HTTP_BODY_MAX", &self.http_body_max, 1024..=BODY_MAX_LIMIT);
        HttpSettings {
            head_timeout: problems.duration(
                "HTTP_HEAD_TIMEOUT",
                &self.http_head_timeout,
                up_to_minute.clone(),
            ),
            read_timeout: problems.duration(
                "HTTP_READ_TIMEOUT",
                &self.http_read_timeout,
                up_to_hour.clone(),
            ),
            body_rate_min: problems.size(
                "HTTP_BODY_RATE_MIN",
                &self.http_body_rate_min,
                1..=BODY_MAX_LIMIT,
            ),
            write_timeout: problems.duration(
                "HTTP_WRITE_TIMEOUT",
                &self.http_write_timeout,
                up_to_hour,
            ),
            keep_alive: problems.duration(
                "HTTP_KEEP_ALIVE",
                &self.http_keep_alive,
                Duration::ZERO..=HOUR,
            ),
            body_max: usize::try_from(body_max).unwrap_or(usize::MAX),
            connections_max: problems.number(
                "HTTP_CONNECTIONS_MAX",
                &self.http_connections_max,
                1..=1_000_000,
            ),
            read_deadline: problems.duration("READ_DEADLINE", &self.read_deadline, up_to_minute),
            rate_limit: self.rate_limit(problems),
            trusted_proxies: problems
                .parsed("TRUSTED_PROXIES", parse_proxies(&self.trusted_proxies)),
            cors_origins: self.origins(problems),
        }
    }

    fn rate_limit(&self, problems: &mut Problems) -> Option<RateLimitSettings> {
        let per_second = problems.number(
            "RATE_LIMIT_PER_SECOND",
            &self.rate_limit_per_second,
            0..=10_000_000,
        );
        let burst = problems.number("RATE_LIMIT_BURST", &self.rate_limit_burst, 0..=10_000_000);
        let half_off = (per_second == 0) != (burst == 0);
        problems.require(
            !half_off || per_second == 0,
            "RATE_LIMIT_BURST",
            "0 lets nobody in while RATE_LIMIT_PER_SECOND is not 0; to turn the limit off, set that",
        );
        (per_second > 0).then_some(RateLimitSettings { per_second, burst })
    }

    fn origins(&self, problems: &mut Problems) -> Vec<String> {
        let entries = self
            .cors_origins
            .split(',')
            .map(str::trim)
            .filter(|o| !o.is_empty());
        let mut origins = Vec::new();
        for entry in entries {
            match url::Url::parse(entry) {
                Ok(url)
                    if url.origin().is_tuple() && url.origin().ascii_serialization() == entry =>
                {
                    origins.push(entry.to_owned());
                }
                _ => problems.add(
                    "CORS_ORIGINS",
                    format_args!(
                        "`{entry}` is not an origin; write it like https://app.example.org"
                    ),
                ),
            }
        }
        origins
    }
}
