//! A Redis of a test's own, to kill, pause, fill up or load an old dump into.

use std::path::PathBuf;
use std::process::Command;

use crate::pipeline::process::Signal;
use crate::scripted::Scripted;

/// A server on a spare port, empty, without persistence of its own accord; it goes with this.
#[derive(Debug)]
pub struct OwnRedis {
    server: Scripted,
}

impl OwnRedis {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let server = Scripted::start_apart("redis").expect("Redis starts");
        Self { server }
    }

    /// Its URL, which stays the same over restarts.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.address()
    }

    /// Starts it after [`Self::kill`], on the same port; it loads [`Self::dump`] if that is there.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        self.server.start_again().expect("Redis starts again");
    }

    /// Where `SAVE` writes and a start reads.
    #[must_use]
    pub fn dump(&self) -> PathBuf {
        self.server.folder().join("dump.rdb")
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        self.server.kill().expect("a running Redis");
    }

    /// Stops it without ending its connections.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.server.signal(Signal::Stop).expect("a running Redis");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        let signalled = self.server.signal(Signal::Continue);
        signalled.expect("a paused Redis");
    }

    /// Runs a command of Redis and gives what `redis-cli` prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-u", self.url()]);
        let output = command.args(arguments).output().expect("redis-cli runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim_end().to_owned()
    }
}
