//! The folder of `runnel up` (RUNNEL_HOME): where each thing in it lies, and files that only
//! their owner may read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The setting, for commands that need no other.
#[derive(Debug, Clone, clap::Args)]
pub struct HomeArgs {
    /// The folder of `runnel up`: its cluster, keys and the file `env`
    #[arg(long, env = "RUNNEL_HOME", default_value = platform::config::HOME_DEFAULT)]
    pub runnel_home: PathBuf,
}

/// RUNNEL_HOME, absolute, and there.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// Makes the folder when it is absent.
    ///
    /// # Errors
    /// When it cannot be made or its absolute path cannot be found.
    pub fn open(path: &Path) -> anyhow::Result<Home> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let absolute = path
            .canonicalize()
            .with_context(|| format!("cannot enter {}", path.display()))?;
        Ok(Home(absolute))
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where `runnel keys` writes.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The file that every other binary reads when `DATABASE_URL` is unset.
    #[must_use]
    pub fn env_file(&self) -> PathBuf {
        self.0.join(platform::config::HOME_ENV_FILE)
    }

    /// Held locked while a `runnel up` runs here.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The private cluster and what belongs to it.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.0.join("postgres")
    }
}

/// Writes a file that only its owner may read, wholly or not at all: readers see the old text or
/// the new one.
///
/// # Errors
/// As the file system says, with the path.
pub fn write_private(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        // `mode` counts for a new file only; one left behind by a crash keeps its own.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
