//! What kind of process this is and how much of the machine it may use.

use std::path::PathBuf;

use super::{Cgroup, Problems, memory_limit, worker_threads};

const MIB: u64 = 1 << 20;

/// The process's settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Process")]
pub struct ProcessArgs {
    /// `development` or `production`; production refuses keys that `runnel keys` made
    #[arg(long, env = "RUNNEL_ENV", default_value = "development")]
    pub runnel_env: String,
    /// The folder of `runnel up`: its cluster, keys and the file `env`
    #[arg(long, env = "RUNNEL_HOME", default_value = ".runnel")]
    pub runnel_home: String,
    /// Memory that caches are sized by; default: the cgroup's limit, or the machine's memory
    #[arg(long, env = "MEMORY_LIMIT")]
    pub memory_limit: Option<String>,
    /// HTTP worker threads; default: the cgroup's processors
    #[arg(long, env = "WORKER_THREADS")]
    pub worker_threads: Option<String>,
}

/// Validated [`ProcessArgs`].
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Development or production.
    pub mode: Mode,
    /// RUNNEL_HOME.
    pub home: PathBuf,
    /// Bytes of memory to size caches by.
    pub memory_limit: u64,
    /// HTTP worker threads, at least 1.
    pub worker_threads: usize,
}

/// What is allowed: production refuses development keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Keys marked `dev` are welcome.
    #[default]
    Development,
    /// Keys marked `dev` are refused.
    Production,
}

impl ProcessArgs {
    /// Parses and checks the group.
    pub fn validate(&self, problems: &mut Problems) -> ProcessSettings {
        let cgroup = Cgroup::of_process();
        let mode = match self.runnel_env.trim() {
            "development" => Ok(Mode::Development),
            "production" => Ok(Mode::Production),
            other => Err(format!("`{other}` is neither development nor production")),
        };
        ProcessSettings {
            mode: problems.parsed("RUNNEL_ENV", mode),
            home: PathBuf::from(&self.runnel_home),
            memory_limit: match &self.memory_limit {
                Some(text) => problems.size("MEMORY_LIMIT", text, 16 * MIB..=u64::MAX),
                None => memory_limit(&cgroup),
            },
            worker_threads: match &self.worker_threads {
                Some(text) => problems.number("WORKER_THREADS", text, 1..=1024),
                None => worker_threads(&cgroup),
            },
        }
    }
}
