//! Which build is running.

use serde::Serialize;

/// Version and commit, as `/version` and the metric `build_info` tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The workspace's version.
    pub version: &'static str,
    /// The commit, when the build knew it (`RUNNEL_COMMIT`), otherwise `unknown`.
    pub commit: &'static str,
}

impl BuildInfo {
    /// What this crate was built as; the workspace has one version.
    #[must_use]
    pub const fn of_platform() -> BuildInfo {
        let commit = match option_env!("RUNNEL_COMMIT") {
            Some(commit) => commit,
            None => "unknown",
        };
        BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit,
        }
    }
}
