//! An OS process that a test can kill, pause and stop by its id; its output goes to a file that is
//! shown when the test fails.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use crate::eventually;

/// How much of a log is shown when a test fails.
const SHOWN_LINES: usize = 25;

/// Access lines of a test under load say little and hide the rest.
const REQUEST_LINE: &str = "\"message\":\"request\"";

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: finish and go.
    Terminate,
    /// SIGSTOP: hang, as a long pause of the machine would.
    Stop,
    /// SIGCONT: go on after it.
    Continue,
    /// SIGKILL: end at once.
    Kill,
}

impl Signal {
    /// Sends it to this process id.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn send(self, pid: u32) -> anyhow::Result<()> {
        let name = match self {
            Self::Terminate => "TERM",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Kill => "KILL",
        };
        let line = format!("kill -{name} {pid}");
        let status = Command::new("sh").args(["-c", &line]).status()?;
        anyhow::ensure!(status.success(), "{line}");
        Ok(())
    }
}

/// A running binary; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with nothing but this environment; its output is added to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(binary: &Path, environment: &[(String, String)], log: &Path) -> Self {
        let open =
            || -> std::io::Result<File> { OpenOptions::new().create(true).append(true).open(log) };
        let mut command = command(binary, environment);
        if binary.ends_with("projector") {
            command.arg("run");
        }
        command
            .stdin(Stdio::null())
            .stdout(open().expect("a log file"))
            .stderr(open().expect("a log file"));
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// SIGKILL, and wait for the end.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is what is wanted.
        drop(self.child.kill());
        self.child.wait().expect("our own child");
    }

    /// Sends a signal to this process id.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        signal.send(self.child.id()).expect("a running process");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it has not within `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        eventually(deadline, || {
            let ended = self.child.try_wait().expect("our own child");
            async move { ended.ok_or("still running") }
        })
        .await
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let is_request = |line: &&str| line.contains(REQUEST_LINE);
        let lines: Vec<&str> = log.lines().filter(|line| !is_request(line)).collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it when the test fails"
    )]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the end of {}:\n{}", self.log.display(), self.log_end());
        }
    }
}

/// Runs a binary to its end.
///
/// # Panics
/// When it cannot be run.
pub async fn run(binary: &Path, arguments: &[&str], environment: &[(String, String)]) -> Output {
    let mut command = command(binary, environment);
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("no panic").expect("the binary runs")
}

fn command(binary: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(binary);
    command.env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}
