//! A Kafka broker of this test's own, which it may stop.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

pub(crate) struct Broker {
    folder: TempDir,
    pub(crate) address: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = script("start", folder.path());
        Self { folder, address }
    }

    /// It stops; what it holds stays.
    pub(crate) fn stop(&self) {
        script("stop", self.folder.path());
    }

    /// It is back, on the same port.
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
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka");
    let output = Command::new(script)
        .arg(verb)
        .arg(folder)
        .env("KAFKA_HEAP", "256m")
        .output()
        .unwrap();
    let (told, trouble) = (output.stdout, output.stderr);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&trouble)
    );
    String::from_utf8(told).unwrap().trim().to_owned()
}
