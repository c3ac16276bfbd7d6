//! The rules of the code base that a compiler does not know: who may use whom, what every file
//! looks like, which licences we ship. `ARCHITECTURE.md` has the same table for people.

mod crates;
mod files;
mod migrations;
mod settings;

use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    testkit::servers::workspace_root()
}

/// The files that git tracks or would track, with the given ending.
fn tracked(ending: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    let files: Vec<_> = text
        .lines()
        .filter(|line| line.ends_with(ending))
        .map(|line| root().join(line))
        .filter(|path| path.exists())
        .collect();
    assert!(!files.is_empty(), "git lists no {ending} file");
    files
}

/// Fails with all findings at once.
#[track_caller]
fn assert_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
