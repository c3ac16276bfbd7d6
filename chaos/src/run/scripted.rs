//! A server that a script of the repository starts and stops in a folder: Redis, Kafka.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use testkit::servers::workspace_root;

/// Stopped when dropped.
#[derive(Debug)]
pub(super) struct Scripted {
    script: PathBuf,
    folder: PathBuf,
    address: String,
}

impl Scripted {
    /// Starts `scripts/<name>` in a folder of its own.
    pub(super) fn start(name: &str, home: &Path) -> anyhow::Result<Self> {
        let mut server = Self {
            script: workspace_root().join("scripts").join(name),
            folder: home.join(name),
            address: String::new(),
        };
        server.address = server.run("start")?;
        Ok(server)
    }

    /// What the script printed: where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// SIGKILL to its process.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        self.signal("KILL")
    }

    /// Sends a signal to its process.
    pub(super) fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(self.pid()?, name)
    }

    /// Starts it again in the same place.
    pub(super) fn start_again(&self) -> anyhow::Result<()> {
        let address = self.run("start")?;
        anyhow::ensure!(address == self.address, "it moved to {address}");
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
        drop(self.signal("CONT"));
        drop(self.run("stop"));
    }
}

/// Sends a signal to one process.
pub(super) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let line = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &line]).status()?;
    anyhow::ensure!(status.success(), "{line}");
    Ok(())
}

/// The processes that this one has started.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.collect()
}
