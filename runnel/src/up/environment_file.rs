//! RUNNEL_HOME/env: how the other binaries find a running `runnel up`.

use std::fs;

use secrecy::{ExposeSecret as _, SecretString};

use crate::home::{Home, write_private};

/// What the file tells.
pub(super) struct Told<'a> {
    /// The private cluster's URL. A DATABASE_URL that came from outside is not copied here.
    pub(super) database_url: Option<&'a SecretString>,
    /// Where commands are accepted.
    pub(super) command_url: &'a str,
    /// Where reads are answered.
    pub(super) query_url: &'a str,
    /// Settings of tokens and secrets that this process uses, by name.
    pub(super) settings: Vec<(&'static str, String)>,
}

/// Writes the file, readable for its owner only.
pub(super) fn write(home: &Home, told: &Told<'_>) -> anyhow::Result<()> {
    let mut text = "# Written by `runnel up` while it runs; removed when it stops.\n".to_owned();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name}={value}\n"));
    if let Some(url) = told.database_url {
        line("DATABASE_URL", url.expose_secret());
    }
    line("COMMAND_URL", told.command_url);
    line("QUERY_URL", told.query_url);
    for (name, value) in &told.settings {
        line(name, value);
    }
    write_private(&home.env_file(), text.as_bytes())
}

/// Takes the file away: what it names is no longer there.
pub(super) fn remove(home: &Home) {
    // It may be gone already; then there is nothing to do.
    fs::remove_file(home.env_file()).ok();
}
