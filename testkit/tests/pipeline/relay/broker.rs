//! A Kafka broker of the test's own, which can be stopped; its folder and its process go with it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::servers::workspace_root;

pub(crate) struct Broker {
    folder: TempDir,
    address: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().expect("a folder for Kafka");
        let address = script("start", folder.path());
        Self { folder, address }
    }

    /// `host:port`; the same after every start.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn stop(&self) {
        script("stop", self.folder.path());
    }

    pub(crate) fn start_again(&self) {
        assert_eq!(script("start", self.folder.path()), self.address);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn script(verb: &str, folder: &Path) -> String {
    let mut command = Command::new(workspace_root().join("scripts/kafka"));
    // To a file: the broker outlives the script and would keep a pipe open.
    let told = folder.join("told");
    let file = std::fs::File::create(&told).expect("a file");
    let status = command.arg(verb).arg(folder).stdout(file).status();
    assert!(
        status.expect("the script runs").success(),
        "scripts/kafka {verb}"
    );
    let told = std::fs::read_to_string(told).expect("what it told");
    told.trim().to_owned()
}
