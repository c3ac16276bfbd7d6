//! The Go yardstick: `bench/go`, built beside this program where there is a Go. Where there is none
//! its rows say so; no figure of another machine stands in for it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::figure::Row;
use testkit::servers::workspace_root;

/// Its name, beside this program's.
pub(crate) const PROGRAM: &str = "bench-go";

/// Where Go is looked for: the PATH, and where its own archive puts it.
const PLACES: [&str; 2] = ["go", "/usr/local/go/bin/go"];

/// With the modules, the first time.
const BUILT_WITHIN: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Go {
    Built,
    NotHere,
    /// What Go says: its version is too old, a module does not come.
    Failed(String),
}

impl Go {
    /// Builds it; a second time in a moment.
    ///
    /// # Errors
    /// When this program does not know where it is itself, or Go takes too long.
    pub(crate) async fn build() -> anyhow::Result<Self> {
        let itself = std::env::current_exe()?;
        let folder = itself.parent().context("a folder")?;
        for place in PLACES {
            let mut command = build(place, folder);
            let Ok(child) = command.spawn() else { continue };
            let ended = tokio::time::timeout(BUILT_WITHIN, child.wait_with_output()).await;
            let output = ended.context("`go build` takes too long")??;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Ok(if output.status.success() {
                Self::Built
            } else {
                Self::Failed(said)
            });
        }
        Ok(Self::NotHere)
    }

    /// The row of a comparison that cannot be made; none when it can.
    pub(crate) fn missing(&self, what: &str) -> Option<Row> {
        match self {
            Self::Built => None,
            Self::NotHere => Some(Row::absent(what, "no Go here")),
            Self::Failed(said) => Some(Row::failed(what, said)),
        }
    }

    /// For who watches the run.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Built => "go        built from bench/go\n".to_owned(),
            Self::NotHere => "go        no Go here: its yardstick is left out\n".to_owned(),
            Self::Failed(said) => format!("go        does not build bench/go: {said}\n"),
        }
    }
}

fn build(go: &str, folder: &Path) -> Command {
    let mut command = Command::new(go);
    command
        .args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
        ])
        .arg(folder.join(PROGRAM))
        .arg(".")
        .current_dir(workspace_root().join("bench/go"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_left_out_without_go_and_fail_when_it_does_not_build() {
        assert!(Go::Built.missing("hit").is_none());
        let absent = Go::NotHere.missing("hit").unwrap();
        assert!(!absent.is_failed());
        let failed = Go::Failed("too old".to_owned()).missing("hit").unwrap();
        assert!(failed.is_failed());
    }
}
