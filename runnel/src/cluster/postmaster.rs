//! What `postmaster.pid` tells about a cluster: nobody runs it, a server does, or one that is
//! gone left the file behind.

use std::fs;
use std::path::Path;

/// Who runs a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Postmaster {
    /// Nobody.
    Absent,
    /// The file names a process that is gone, or one that got the same id by chance.
    Stale,
    /// A server of this very cluster.
    Running {
        /// Its process id.
        pid: u32,
        /// The port that it listens on.
        port: u16,
        /// It has finished starting and has not begun to stop.
        ready: bool,
    },
}

impl Postmaster {
    /// Reads the file and looks at the process that it names.
    #[must_use]
    pub(super) fn of(data: &Path) -> Postmaster {
        let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else {
            return Postmaster::Absent;
        };
        match parse(&text) {
            Some((pid, port, ready)) if runs_cluster(pid, data) => {
                Postmaster::Running { pid, port, ready }
            }
            _ => Postmaster::Stale,
        }
    }
}

/// Removes a stale file, but only where PostgreSQL could not judge it: it starts over the file of
/// a process that is gone, after a look at the shared memory, and refuses when any process has
/// the id. While sessions of a killed server are still there the file stays: it guards them.
pub(super) fn clear_reused_id(data: &Path) {
    let named = fs::read_to_string(data.join("postmaster.pid")).ok();
    let Some((pid, ..)) = named.as_deref().and_then(parse) else {
        return;
    };
    let reused = Path::new("/proc").join(pid.to_string()).exists() && !runs_cluster(pid, data);
    if reused && !anyone_runs_cluster(data) {
        // A start that finds the file still there says so itself.
        fs::remove_file(data.join("postmaster.pid")).ok();
    }
}

fn anyone_runs_cluster(data: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.any(|pid| runs_cluster(pid, data))
}

/// A server's working folder is its data folder. A process id alone proves nothing: after a
/// restart of the machine or container another process may have it.
fn runs_cluster(pid: u32, data: &Path) -> bool {
    let at = fs::read_link(format!("/proc/{pid}/cwd"));
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let data = data.canonicalize();
    name.starts_with("postgres") && data.is_ok_and(|data| at.is_ok_and(|at| at == data))
}

/// Lines: pid, data folder, start time, port, socket folder, address, memory key, state.
fn parse(text: &str) -> Option<(u32, u16, bool)> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let port = lines
        .nth(2)
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or(0);
    let ready = lines.nth(3).is_some_and(|state| state.trim() == "ready");
    Some((pid, port, ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_process_port_and_state() {
        let text = "4711\n/data\n1700000000\n23456\n\n127.0.0.1\n  123 456\nready   \n";
        assert_eq!(parse(text), Some((4711, 23456, true)));
        assert_eq!(
            parse(&text.replace("ready   ", "stopping")),
            Some((4711, 23456, false))
        );
        assert_eq!(parse("4711\n/data\n"), Some((4711, 0, false)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_living_process_that_is_no_server_of_this_cluster_is_not_believed() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Postmaster::of(data.path()), Postmaster::Absent);
        let own = format!("{}\n{}\n", std::process::id(), data.path().display());
        fs::write(data.path().join("postmaster.pid"), own).unwrap();
        assert_eq!(Postmaster::of(data.path()), Postmaster::Stale);
        clear_reused_id(data.path());
        assert_eq!(Postmaster::of(data.path()), Postmaster::Absent);
    }

    #[test]
    fn the_file_of_a_process_that_is_gone_is_left_to_postgresql() {
        let data = tempfile::tempdir().unwrap();
        // Linux gives no process an id above 2^22.
        fs::write(data.path().join("postmaster.pid"), "99999999\n/data\n").unwrap();
        clear_reused_id(data.path());
        assert_eq!(Postmaster::of(data.path()), Postmaster::Stale);
    }
}
