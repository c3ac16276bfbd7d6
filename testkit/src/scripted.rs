//! A server that a script of the repository starts and stops in a folder: Redis, Kafka.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::pipeline::process::Signal;
use crate::servers::workspace_root;

/// How long a process may take to be gone after SIGKILL.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A server; stopped when dropped.
#[derive(Debug)]
pub struct Scripted {
    script: PathBuf,
    folder: PathBuf,
    address: String,
    /// Goes with a server that is nobody else's.
    _home: Option<TempDir>,
}

impl Scripted {
    /// Starts `scripts/<name>` in a folder of its own within `home`.
    ///
    /// # Errors
    /// What the script says.
    pub fn start(name: &str, home: &Path) -> anyhow::Result<Self> {
        let mut server = Self {
            script: workspace_root().join("scripts").join(name),
            folder: home.join(name),
            address: String::new(),
            _home: None,
        };
        server.address = server.run("start")?;
        Ok(server)
    }

    /// The same in a folder that goes with it.
    ///
    /// # Errors
    /// What the script says.
    pub fn start_apart(name: &str) -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let mut server = Self::start(name, home.path())?;
        server._home = Some(home);
        Ok(server)
    }

    /// What the script printed: where it listens. The same after every start.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it keeps what it holds.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sends a signal to its process.
    ///
    /// # Errors
    /// When there is none.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signal.send(self.pid()?)
    }

    /// SIGKILL to its process, as a power cut would end it, and waits until it is gone.
    ///
    /// # Errors
    /// When there is none, or it stays.
    pub fn kill(&self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        Signal::Kill.send(pid)?;
        let begun = Instant::now();
        while !is_gone(pid) {
            ensure!(begun.elapsed() < GONE_WITHIN, "process {pid} stays");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops it; what it holds stays, as far as it keeps anything.
    ///
    /// # Errors
    /// What the script says.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.run("stop").map(drop)
    }

    /// Starts it again in the same place.
    ///
    /// # Errors
    /// What the script says; also when it listens elsewhere.
    pub fn start_again(&self) -> anyhow::Result<()> {
        let address = self.run("start")?;
        ensure!(address == self.address, "it moved to {address}");
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<u32> {
        let path = self.folder.join("pid");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        text.trim().parse().context("a process id")
    }

    fn run(&self, verb: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.script);
        let output = command
            .arg(verb)
            .arg(&self.folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| self.script.display().to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{} {verb}: {said}", self.script.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // One that is paused would not hear the script's SIGTERM.
        drop(self.signal(Signal::Continue));
        drop(self.stop());
    }
}

/// A process that was killed may stand about as a zombie until its parent looks.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.is_empty() || state.starts_with(['Z', 'X'])
}
