//! Where the cluster lies and on which port it listens.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::account::Account;
use crate::home::Home;

/// Used when the server's account cannot enter RUNNEL_HOME, such as a checkout in root's home.
const ELSEWHERE: &str = "/var/lib/runnel";

/// Below the range that the kernel hands out to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_TRIES: u16 = 100;

/// The cluster's folder, made when absent, and the account that it belongs to.
pub(super) fn choose(home: &Home) -> anyhow::Result<(PathBuf, Account)> {
    let inside = home.cluster();
    let account = Account::choose(&inside.join("data"))?;
    if account.can_enter(home.path()) {
        make(&inside, &account)?;
        return Ok((inside, account));
    }
    let elsewhere = Path::new(ELSEWHERE).join(folder_name(home.path()));
    let account = Account::choose(&elsewhere.join("data"))?;
    tracing::warn!(
        folder = %elsewhere.display(),
        "{} cannot enter {}, so the cluster is in {}; RUNNEL_HOME moves it",
        account.name(),
        home.path().display(),
        elsewhere.display(),
    );
    make(&elsewhere, &account)?;
    Ok((elsewhere, account))
}

fn make(folder: &Path, account: &Account) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    account.own(folder)
}

/// A path as one name, such as `root-src-.runnel`; no two paths get the same.
fn folder_name(path: &Path) -> String {
    let text = path
        .to_string_lossy()
        .replace('%', "%25")
        .replace('-', "%2d");
    text.trim_start_matches('/').replace('/', "-")
}

/// The port of the last run when it is free, so that URLs stay the same; otherwise a spare one.
pub(super) fn port(folder: &Path) -> anyhow::Result<u16> {
    let last = fs::read_to_string(folder.join("port"))
        .ok()
        .and_then(|p| p.trim().parse().ok());
    // Begin at a random port: several homes on one machine should not race for the same.
    let [random, more, ..] = uuid::Uuid::new_v4().into_bytes();
    let begin = u16::from_be_bytes([random, more]) % (PORTS.end - PORTS.start);
    let spare = (0..PORT_TRIES).map(|i| PORTS.start + (begin + i) % (PORTS.end - PORTS.start));
    last.into_iter()
        .chain(spare)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("found no free port for PostgreSQL")
}

pub(super) fn remember_port(account: &Account, folder: &Path, port: u16) -> anyhow::Result<()> {
    account.write(&folder.join("port"), format!("{port}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_never_share_a_folder_name() {
        let name = |path| folder_name(Path::new(path));
        assert_eq!(name("/root/src/.runnel"), "root-src-.runnel");
        assert_ne!(name("/a-b/c"), name("/a/b-c"));
        assert_ne!(name("/a%2db/c"), name("/a-b/c"));
    }

    #[test]
    fn the_last_port_is_kept_while_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let first = port(folder.path()).unwrap();
        remember_port(&Account::Own, folder.path(), first).unwrap();
        assert_eq!(port(folder.path()).unwrap(), first);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(port(folder.path()).unwrap(), first);
        drop(taken);
    }
}
