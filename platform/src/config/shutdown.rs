//! How a process takes its leave.

use std::time::Duration;

use super::Problems;

const MINUTES: Duration = Duration::from_secs(600);

/// The shutdown's settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Shutdown")]
pub struct ShutdownArgs {
    /// How long to answer "not ready" before accepting no more, so that balancers notice
    #[arg(long, env = "SHUTDOWN_WAIT")]
    pub shutdown_wait: Option<String>,
    /// How long running work may take to finish
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "25s")]
    pub shutdown_grace: String,
}

/// Validated [`ShutdownArgs`].
#[derive(Debug, Clone, Copy)]
pub struct ShutdownSettings {
    /// Time between "not ready" and the last accept.
    pub wait: Duration,
    /// Time that running work is given.
    pub grace: Duration,
}

impl ShutdownArgs {
    /// Parses; the wait's default is `3s`, and `0s` when everything is one process.
    pub fn validate(&self, default_wait: &str, problems: &mut Problems) -> ShutdownSettings {
        let wait = self.shutdown_wait.as_deref().unwrap_or(default_wait);
        let allowed = Duration::ZERO..=MINUTES;
        ShutdownSettings {
            wait: problems.duration("SHUTDOWN_WAIT", wait, allowed.clone()),
            grace: problems.duration("SHUTDOWN_GRACE", &self.shutdown_grace, allowed),
        }
    }
}
