//! Processor time from /proc: of the server's backends, of the whole server, of this process, and
//! of everything else, because a busy neighbour spoils a measurement and should be seen.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux tells times to user space in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// Processor time used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTimes {
    /// Sessions of the measured database.
    pub(crate) backends: Duration,
    /// The whole server: those, the checkpointer, the WAL writer and the rest.
    pub(crate) server: Duration,
    /// This process.
    pub(crate) client: Duration,
    /// The lanes' threads, a part of that.
    pub(crate) lanes: Duration,
    /// The whole machine, the time that the hypervisor took included.
    pub(crate) machine: Duration,
}

impl CpuTimes {
    /// Reads them all. Sessions that ended are in `server` but no longer in `backends`.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub(crate) fn read(postmaster: u32, database: &str) -> anyhow::Result<Self> {
        let own = stat(postmaster).context("the server is gone")?;
        let mut times = Self {
            server: own.self_and_reaped,
            ..Self::default()
        };
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A process may end while this looks at it.
            let Some(found) = stat(pid).filter(|found| found.parent == postmaster) else {
                continue;
            };
            times.server += found.self_only;
            let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if title.starts_with(&format!("postgres: postgres {database} ")) {
                times.backends += found.self_only;
            }
        }
        for entry in fs::read_dir("/proc/self/task")?.flatten() {
            let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            if text.contains(" (append-") {
                times.lanes += parse_stat(&text).map_or(Duration::ZERO, |found| found.self_only);
            }
        }
        times.client = stat(std::process::id()).context("/proc/self")?.self_only;
        times.machine = machine_busy()?;
        Ok(times)
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            backends: self.backends.saturating_sub(earlier.backends),
            server: self.server.saturating_sub(earlier.server),
            lanes: self.lanes.saturating_sub(earlier.lanes),
            client: self.client.saturating_sub(earlier.client),
            machine: self.machine.saturating_sub(earlier.machine),
        }
    }

    /// What neither the server nor this process used.
    pub(crate) fn others(self) -> Duration {
        self.machine.saturating_sub(self.server + self.client)
    }
}

/// Processor time that a process has used, all of its threads together.
///
/// # Errors
/// When it is gone.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let found = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(found.self_only)
}

struct ProcessStat {
    parent: u32,
    self_only: Duration,
    self_and_reaped: Duration,
}

fn stat(pid: u32) -> Option<ProcessStat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

/// The fields after the name in parentheses, which may hold anything: state, parent …, user and
/// system time at 11 and 12, those of reaped children at 13 and 14.
fn parse_stat(text: &str) -> Option<ProcessStat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| -> Option<u32> { fields.get(index)?.parse().ok() };
    let self_only = TICK * (ticks(11)? + ticks(12)?);
    Some(ProcessStat {
        parent: ticks(1)?,
        self_only,
        self_and_reaped: self_only + TICK * (ticks(13)? + ticks(14)?),
    })
}

fn machine_busy() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let ticks: Vec<u32> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|index| ticks.get(*index))
        .sum::<u32>();
    Ok(TICK * busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_spaces_and_parentheses() {
        let text = "42 (post) (gres) S 7 1 1 0 -1 4 0 0 0 0 250 50 30 20 20 0 1 0 5 0 0\n";
        let found = parse_stat(text).unwrap();
        assert_eq!(found.parent, 7);
        assert_eq!(found.self_only, Duration::from_secs(3));
        assert_eq!(found.self_and_reaped, Duration::from_millis(3500));
    }

    #[test]
    fn this_process_has_a_parent_and_the_machine_is_at_least_as_busy() {
        let own = stat(std::process::id()).unwrap();
        assert!(own.parent > 0);
        assert!(of_process(std::process::id()).unwrap() >= own.self_only);
        assert!(machine_busy().unwrap() >= own.self_only);
    }
}
