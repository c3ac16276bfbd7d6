//! Where a process answers health checks and hands out its metrics.

use std::net::SocketAddr;

use super::Problems;

/// The admin listener's settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Admin port")]
pub struct AdminArgs {
    /// Where /healthz, /readyz, /metrics and /version answer; keep it off the public network
    #[arg(long, env = "ADMIN_LISTEN")]
    pub admin_listen: Option<String>,
}

/// Validated [`AdminArgs`].
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
}

impl AdminArgs {
    /// Parses; each process has its own default, such as `127.0.0.1:9080`.
    pub fn validate(&self, default: &str, problems: &mut Problems) -> AdminSettings {
        let text = self.admin_listen.as_deref().unwrap_or(default);
        AdminSettings {
            listen: problems.listen("ADMIN_LISTEN", text),
        }
    }
}
