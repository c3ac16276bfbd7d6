//! Where the built binaries are: beside the test's own executable, or the program's. Under
//! `cargo test --workspace` they are there already; otherwise they are built once, with the same
//! profile into the same folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::servers::workspace_root;

/// The binaries, which are named like their crates.
const NAMES: [&str; 5] = [
    "command-api",
    "loadtest",
    "projector",
    "query-api",
    "runnel",
];

/// Names a folder whose binaries are taken as they are: those of a release, or of an hour ago.
const FOLDER: &str = "RUNNEL_TEST_BINARIES";

/// The path of a binary.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    std::env::var_os(FOLDER)
        .map_or_else(profile_folder, PathBuf::from)
        .join(name)
}

/// Builds what is missing or stale, once a test run; cargo's own lock lets one process do it.
///
/// # Panics
/// When the build fails.
pub fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if std::env::var_os(FOLDER).is_some() || NAMES.iter().all(|name| is_fresh(name)) {
            return;
        }
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--quiet", "--bins"])
            .current_dir(workspace_root())
            .arg("--target-dir")
            .arg(profile_folder().parent().expect("the target folder"));
        for name in NAMES {
            command.args(["-p", name]);
        }
        let folder = profile_folder();
        match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => {}
            Some(profile) => {
                command.args(["--profile", profile]);
            }
        }
        let status = command.status().expect("cargo runs");
        assert!(status.success(), "the binaries do not build: {command:?}");
    });
}

/// `target/<profile>`: a test's executable lies in its folder `deps`, a program's in itself.
fn profile_folder() -> PathBuf {
    let executable = std::env::current_exe().expect("the executable's own path");
    let folder = executable.parent().expect("a folder");
    if folder.ends_with("deps") {
        return folder.parent().expect("the profile's folder").to_owned();
    }
    folder.to_owned()
}

/// Newer than every source that cargo wrote down for it (`<binary>.d`: `binary: source source …`).
fn is_fresh(name: &str) -> bool {
    let binary = path(name);
    let Some(built) = modified(&binary) else {
        return false;
    };
    let Ok(listed) = std::fs::read_to_string(binary.with_extension("d")) else {
        return false;
    };
    let Some((_, sources)) = listed.split_once(':') else {
        return false;
    };
    let is_older = |source| modified(Path::new(source)).is_some_and(|time| time <= built);
    sources.split_whitespace().all(is_older)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|data| data.modified()).ok()
}
