//! The private PostgreSQL cluster of `runnel up`: made once, started on a spare loopback port,
//! adopted when an earlier `runnel up` was killed and left it running, stopped last.
//!
//! The functions block: they wait for PostgreSQL's own programs. Callers hold the home's lock.

mod account;
mod initialise;
mod owner;
mod place;
mod postmaster;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use secrecy::SecretString;

use self::account::Account;
use self::postmaster::Postmaster;
use self::programs::Programs;
use crate::home::Home;

const START_TIMEOUT: Duration = Duration::from_secs(600);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const START_ATTEMPTS: usize = 5;
const START_PAUSE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(50);

/// How `start` found the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There was none: it was made.
    Nothing,
    /// Stopped as it should be.
    Stopped,
    /// Not running, but not stopped either: PostgreSQL recovers it by itself.
    Crashed,
    /// Running without a `runnel up`: adopted.
    Orphaned,
}

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The folder of PostgreSQL's programs; none looks in the usual places.
    pub programs: Option<PathBuf>,
    /// Memory that this process and its cluster share, in bytes.
    pub memory_limit: u64,
}

/// A running private cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    programs: Programs,
    account: Account,
    folder: PathBuf,
    memory_limit: u64,
    port: u16,
}

impl Cluster {
    /// Makes, starts, recovers or adopts the cluster of a home.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start; the message ends with its own log.
    pub fn start(home: &Home, settings: &ClusterSettings) -> anyhow::Result<(Cluster, Found)> {
        let (folder, account) = place::choose(home)?;
        let data = folder.join("data");
        let programs = Programs::find(settings.programs.as_deref(), data_version(&data))?;
        let memory_limit = settings.memory_limit;
        let mut cluster = Cluster {
            programs,
            account,
            folder,
            memory_limit,
            port: 0,
        };
        let found = cluster.look()?;
        if found == Found::Nothing {
            initialise::create(&cluster.programs, &cluster.account, &cluster.folder)?;
        }
        if found != Found::Orphaned {
            cluster.launch(None)?;
        }
        tracing::info!(
            version = cluster.programs.version(),
            port = cluster.port,
            account = cluster.account.name(),
            ?found,
            "private PostgreSQL is running"
        );
        Ok((cluster, found))
    }

    /// Makes the database and its owner where they are absent, and returns the owner's URL.
    ///
    /// # Errors
    /// When the server refuses the stored password or a statement.
    pub async fn ensure_database(&self) -> anyhow::Result<SecretString> {
        owner::ensure(&self.account, &self.folder, self.port).await
    }

    /// The folder with data, passwords and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's major version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.programs.version()
    }

    /// Who the server runs as.
    #[must_use]
    pub fn account_name(&self) -> &str {
        self.account.name()
    }

    /// Starts the server again on its port if it is gone; whether that was needed.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn revive(&mut self) -> anyhow::Result<bool> {
        if let Postmaster::Running { .. } = Postmaster::of(&self.data()) {
            return Ok(false);
        }
        self.launch(Some(self.port))?;
        Ok(true)
    }

    /// Stops the server: open sessions are ended, everything committed is on disk.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&self) -> anyhow::Result<()> {
        if !matches!(Postmaster::of(&self.data()), Postmaster::Running { .. }) {
            return Ok(());
        }
        self.pg_ctl(&["stop", "--mode", "fast"], STOP_TIMEOUT)
            .context("the private PostgreSQL does not stop")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("start.log")
    }

    /// Finds out what is there, and waits for a server that is just starting or stopping.
    fn look(&mut self) -> anyhow::Result<Found> {
        let data = self.data();
        if data_version(&data).is_none() {
            return Ok(Found::Nothing);
        }
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match Postmaster::of(&data) {
                Postmaster::Absent => return Ok(Found::Stopped),
                Postmaster::Stale => return Ok(Found::Crashed),
                Postmaster::Running {
                    port, ready: true, ..
                } => {
                    self.port = port;
                    return Ok(Found::Orphaned);
                }
                Postmaster::Running { pid, .. } if Instant::now() > deadline => {
                    bail!(
                        "the server (pid {pid}) of {} neither starts nor stops",
                        data.display()
                    )
                }
                Postmaster::Running { .. } => std::thread::sleep(POLL),
            }
        }
    }

    /// Starts the server. It tries again because another process may take the port between the
    /// look and the bind, and because the sessions of a killed server need a moment to go.
    fn launch(&mut self, on: Option<u16>) -> anyhow::Result<()> {
        initialise::configure(&self.account, &self.data(), self.memory_limit)?;
        let mut failure = None;
        for attempt in 0..START_ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(START_PAUSE);
            }
            postmaster::clear_reused_id(&self.data());
            let port = on.map_or_else(|| place::port(&self.folder), Ok)?;
            let (log, options) = (self.log(), format!("-p {port}"));
            let log = log.to_string_lossy();
            let start = ["start", "--log", &log, "--options", &options];
            match self.pg_ctl(&start, START_TIMEOUT) {
                Ok(()) => {
                    self.port = port;
                    return place::remember_port(&self.account, &self.folder, port);
                }
                Err(error) => failure = Some(error),
            }
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n");
        let failure = failure.context("no attempt was made")?;
        Err(failure.context(format!(
            "the private PostgreSQL does not start; its log:\n{last}"
        )))
    }

    fn pg_ctl(&self, arguments: &[&str], timeout: Duration) -> anyhow::Result<()> {
        let mut command = self.account.command(&self.programs.path("pg_ctl"));
        command.args(arguments).arg("--pgdata").arg(self.data());
        command.args([
            "--wait",
            "--silent",
            "--timeout",
            &timeout.as_secs().to_string(),
        ]);
        run(command)
    }
}

/// The major version that made a data folder; none when there is no cluster in it.
fn data_version(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Runs one of PostgreSQL's programs to its end. Its output goes nowhere but into the error: a
/// server that it starts would keep an inherited pipe open for ever, so standard output is null.
fn run(mut command: std::process::Command) -> anyhow::Result<()> {
    use std::process::Stdio;
    let program = command.get_program().to_string_lossy().into_owned();
    let said = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut heard = said.try_clone().context("cannot use a temporary file")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(said))
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    std::io::Seek::rewind(&mut heard)?;
    std::io::Read::read_to_string(&mut heard, &mut text)?;
    bail!("{program} failed ({status}): {}", text.trim())
}
