//! What `postmaster.pid` tells about a cluster: nobody runs it, a server does, or one that is
//! gone left the file behind.

use std::fs;
use std::path::Path;

/// Who runs a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postmaster {
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
    pub fn of(data: &Path) -> Postmaster {
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

/// A server's working folder is its data folder. A process id alone proves nothing: after a
/// restart of the machine or container another process may have it.
fn runs_cluster(pid: u32, data: &Path) -> bool {
    let at = fs::read_link(format!("/proc/{pid}/cwd"));
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("postgres") && data.canonicalize().is_ok_and(|data| at.is_ok_and(|at| at == data))
}

/// Lines: pid, data folder, start time, port, socket folder, address, memory key, state.
fn parse(text: &str) -> Option<(u32, u16, bool)> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let port = lines.nth(2).and_then(|line| line.trim().parse().ok()).unwrap_or(0);
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
        assert_eq!(parse(&text.replace("ready   ", "stopping")), Some((4711, 23456, false)));
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
    }
}
