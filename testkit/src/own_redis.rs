//! A Redis of a test's own, to kill, pause, fill up or load an old dump into; by `scripts/redis`.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::servers::workspace_root;

/// A server on a spare port, empty, without persistence of its own accord. It is killed when it is
/// dropped.
#[derive(Debug)]
pub struct OwnRedis {
    folder: TempDir,
    url: String,
}

impl OwnRedis {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut redis = Self {
            folder,
            url: String::new(),
        };
        redis.url = redis.start_again();
        redis
    }

    /// Its URL, which stays the same over restarts.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts it after [`Self::kill`], on the same port; it loads [`Self::dump`] if that is there.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) -> String {
        let output = Command::new(workspace_root().join("scripts/redis"))
            .arg("start")
            .arg(self.folder.path())
            .output()
            .expect("scripts/redis runs");
        assert!(output.status.success(), "Redis starts: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Where `SAVE` writes and a start reads.
    #[must_use]
    pub fn dump(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&self) {
        self.signal("-KILL");
        let pid = self.pid().unwrap_or_default();
        while std::path::Path::new(&format!("/proc/{pid}/cmdline"))
            .metadata()
            .is_ok_and(|_| !is_dead(&pid))
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = std::fs::remove_file(self.folder.path().join("pid"));
    }

    /// Stops it without ending its connections.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Runs a command of Redis and gives what `redis-cli` prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-u", &self.url]);
        let output = command.args(arguments).output().expect("redis-cli runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim_end().to_owned()
    }

    fn pid(&self) -> Option<String> {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).ok()?;
        Some(pid.trim().to_owned())
    }

    fn signal(&self, signal: &str) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").arg(signal).arg(pid).status();
        }
    }
}

/// A process that was killed may stand about as a zombie until its parent looks.
fn is_dead(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.is_empty() || state.starts_with(['Z', 'X'])
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
