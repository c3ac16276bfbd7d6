//! Where the test servers are. `make services` starts them and writes `.runnel/test.env`; without
//! it a test that needs one fails and says so.

use std::path::PathBuf;

/// The workspace's root folder.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    crate_folder
        .parent()
        .expect("a crate lies in the workspace")
        .to_owned()
}

/// The URL of the test PostgreSQL's maintenance database, as a superuser.
///
/// # Panics
/// When neither the environment nor `.runnel/test.env` names it.
#[must_use]
pub fn postgres_url() -> String {
    setting("TEST_DATABASE_URL")
}

/// The URL of the test Redis. It is shared: a test uses a key prefix of its own and flushes
/// nothing.
///
/// # Panics
/// When neither the environment nor `.runnel/test.env` names it.
#[must_use]
pub fn redis_url() -> String {
    setting("TEST_REDIS_URL")
}

/// The brokers of the test Kafka, `host:port` with commas between. It is shared: a test makes a
/// topic of its own (see [`crate::TestTopic`]).
///
/// # Panics
/// When neither the environment nor `.runnel/test.env` names them.
#[must_use]
pub fn kafka_brokers() -> String {
    setting("TEST_KAFKA_BROKERS")
}

fn setting(name: &str) -> String {
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let path = workspace_root().join(".runnel/test.env");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
        .unwrap_or_else(|| {
            panic!(
                "{name} is not set: run `make services`, which writes {}",
                path.display()
            )
        })
}
