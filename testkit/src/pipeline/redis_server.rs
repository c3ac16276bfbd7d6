//! A Redis of a test's own, for what the shared one must not suffer: it is killed, paused, flushed
//! and started again in the same place. `scripts/redis` starts it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::servers::workspace_root;

/// The server; it ends with the test.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    url: String,
}

impl RedisServer {
    /// Starts it on a spare port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = script("start", folder.path());
        Self { folder, url }
    }

    /// Where it is reached, password included.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL; nobody listens there until [`Self::start_again`].
    pub fn kill(&self) {
        self.signal("KILL");
        drop(std::fs::remove_file(self.folder.path().join("pid")));
    }

    /// It comes back empty, on the same port.
    pub fn start_again(&self) {
        assert_eq!(script("start", self.folder.path()), self.url);
    }

    /// SIGSTOP: connections stand, and nobody answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Runs a command of Redis and gives what `redis-cli` prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-u", &self.url]);
        text(command.args(arguments).output().expect("redis-cli runs"))
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).expect("a pid file");
        let line = format!("kill -{signal} {}", pid.trim());
        let status = Command::new("sh").args(["-c", &line]).status();
        assert!(status.expect("sh runs").success(), "{line}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let mut stop = Command::new(workspace_root().join("scripts/redis"));
        stop.arg("stop").arg(self.folder.path());
        // It may be paused or gone already.
        drop(stop.stderr(Stdio::null()).status());
    }
}

fn script(verb: &str, folder: &Path) -> String {
    let mut command = Command::new(workspace_root().join("scripts/redis"));
    let output = command.arg(verb).arg(folder).output();
    text(output.expect("scripts/redis runs"))
}

fn text(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim_end()
        .to_owned()
}
