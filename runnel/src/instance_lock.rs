//! One `runnel up` per RUNNEL_HOME: a second one refuses and names the first.
//!
//! The kernel drops the lock with the process that holds it, however that ends; so a lock file
//! left behind by kill -9 stops nobody, and no pid is ever compared.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};

/// Held for as long as the process may touch the home's cluster.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
}

impl InstanceLock {
    /// Takes the lock and writes this process's id into the file.
    ///
    /// # Errors
    /// When another process holds it; the message names that process.
    pub fn take(path: &Path) -> anyhow::Result<InstanceLock> {
        let place = path.display();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {place}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)
                    .with_context(|| format!("cannot read {place}"))?;
                bail!(
                    "another `runnel up` already runs here: {} (it holds {place}). \
                     Stop it first, or give this one its own RUNNEL_HOME and ports",
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {place}"));
            }
        }
        let mut lock = InstanceLock { file };
        lock.describe(&format!("pid {}", std::process::id()))?;
        Ok(lock)
    }

    /// Replaces what a second `runnel up` is told about this one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn describe(&mut self, holder: &str) -> anyhow::Result<()> {
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{holder}")
        };
        write(&mut self.file).context("cannot write the lock file")
    }
}
