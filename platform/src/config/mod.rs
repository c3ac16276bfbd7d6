//! Settings: every one has a name, a unit and a default (`docs`: settings).
//!
//! Fields of the `*Args` groups are text on purpose. clap stops at the first value it cannot
//! parse; an operator wants the whole list. So clap only collects text, and one `validate` per
//! group parses it and reports to [`Problems`], which lists everything that is wrong at once.
//!
//! ```text
//! #[derive(clap::Parser)] struct Cli { #[command(flatten)] http: HttpArgs, … }
//! let cli: Cli = config::parse_or_exit();
//! let mut problems = Problems::default();
//! let http = cli.http.validate(&mut problems);
//! problems.check_or_exit();
//! ```

mod admin;
mod auth;
mod cgroup;
mod database;
mod environment;
mod http;
mod kafka;
mod load;
mod parse;
mod problems;
mod process;
mod redis;
mod secret;
mod shutdown;
mod telemetry;

pub use admin::{AdminArgs, AdminSettings};
pub use auth::{AuthArgs, AuthSettings, JwksSource};
pub use cgroup::{Cgroup, memory_limit, worker_threads};
pub use database::{DatabaseArgs, DatabaseSettings, PoolSizes, SessionTimeouts};
pub use environment::{Environment, HOME_DEFAULT, HOME_ENV_FILE, parse_env_file};
pub use http::{HttpArgs, HttpSettings, RateLimitSettings};
pub use kafka::{KafkaArgs, KafkaSettings};
pub use load::{EXIT_USAGE, HomeFile, load, parse_or_exit};
pub use parse::{parse_duration, parse_proxies, parse_size};
pub use problems::{InvalidSettings, Problems, WrongSetting};
pub use process::{Mode, ProcessArgs, ProcessSettings};
pub use redis::{RedisArgs, RedisSettings};
pub use secret::{SecretArgs, SecretSettings};
pub use shutdown::{ShutdownArgs, ShutdownSettings};
pub use telemetry::{TelemetryArgs, TelemetrySettings};
