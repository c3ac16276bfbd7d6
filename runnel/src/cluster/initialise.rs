//! Makes the cluster and writes the settings that it is started with.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::account::Account;
use super::programs::Programs;
use super::run;

/// Included by `postgresql.conf`, and written anew at every start: settings of a newer `runnel`
/// reach clusters that an older one made. What an operator sets below the include wins.
const CONFIG: &str = "runnel.conf";

const MIB: u64 = 1 << 20;

/// The superuser of the cluster; `runnel` uses it only to make its own role and database.
pub(super) const SUPERUSER: &str = "postgres";
/// The file with that one's password.
pub(super) const SUPERUSER_PASSWORD: &str = "superuser.password";

/// Runs `initdb`. It works in a folder beside, which gets its name only when it is complete; so
/// a start that was interrupted here leaves no half cluster behind.
pub(super) fn create(programs: &Programs, account: &Account, folder: &Path) -> anyhow::Result<()> {
    let (data, beside) = (folder.join("data"), folder.join("data.new"));
    if beside.exists() {
        fs::remove_dir_all(&beside)
            .with_context(|| format!("cannot remove {}", beside.display()))?;
    }
    let password = folder.join(SUPERUSER_PASSWORD);
    account.write(&password, random_password().as_bytes())?;
    let mut initdb = account.command(&programs.path("initdb"));
    initdb
        .arg("--pgdata")
        .arg(&beside)
        .arg("--pwfile")
        .arg(&password);
    initdb.args(["--username", SUPERUSER, "--auth", "scram-sha-256"]);
    initdb.args(["--encoding", "UTF8", "--locale", "C", "--data-checksums"]);
    run(initdb)?;
    let include = format!("\ninclude_if_exists = '{CONFIG}'  # written by `runnel up`\n");
    account.append(&beside.join("postgresql.conf"), include.as_bytes())?;
    fs::rename(&beside, &data).with_context(|| format!("cannot make {}", data.display()))
}

/// Writes the settings that every start uses.
pub(super) fn configure(account: &Account, data: &Path, memory_limit: u64) -> anyhow::Result<()> {
    account.write(&data.join(CONFIG), config(memory_limit).as_bytes())
}

/// Loopback only and no socket, so nothing but the password opens it. `fsync` and
/// `full_page_writes` stay on: this is people's data.
fn config(memory_limit: u64) -> String {
    let shared_buffers = (memory_limit / 8 / MIB).clamp(64, 1024);
    let effective_cache = (memory_limit / 2 / MIB).max(shared_buffers);
    format!(
        "# Written by `runnel up` at every start; put settings of yours into postgresql.conf.\n\
         listen_addresses = '127.0.0.1'\n\
         unix_socket_directories = ''\n\
         max_connections = 100\n\
         shared_buffers = {shared_buffers}MB\n\
         effective_cache_size = {effective_cache}MB\n\
         random_page_cost = 1.1\n\
         fsync = on\n\
         full_page_writes = on\n\
         synchronous_commit = on\n\
         max_wal_size = 2GB\n\
         checkpoint_timeout = 15min\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         log_line_prefix = '%m [%p] '\n\
         logging_collector = on\n\
         log_directory = 'log'\n\
         log_filename = 'postgresql-%a.log'\n\
         log_truncate_on_rotation = on\n\
         log_rotation_age = 1d\n\
         log_rotation_size = 0\n"
    )
}

/// 244 random bits as hex: needs no quoting in SQL, URLs or files.
pub(super) fn random_password() -> String {
    let random = || uuid::Uuid::new_v4().simple();
    format!("{}{}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_keeps_what_it_was_told_and_listens_on_loopback_alone() {
        let text = config(8 << 30);
        for line in [
            "fsync = on",
            "listen_addresses = '127.0.0.1'",
            "unix_socket_directories = ''",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
        assert!(text.contains("shared_buffers = 1024MB"));
        assert!(config(16 * MIB).contains("shared_buffers = 64MB"));
    }
}
