//! Reads how much memory and processor time a container was given. A Go or JVM server learnt the
//! hard way what happens when one counts the host's processors instead.

use std::path::{Path, PathBuf};

/// Where the kernel's files are; tests bring their own folder.
#[derive(Debug, Clone)]
pub struct Cgroup {
    root: PathBuf,
    meminfo: PathBuf,
}

impl Cgroup {
    /// The files of this process.
    #[must_use]
    pub fn of_process() -> Cgroup {
        Cgroup {
            root: PathBuf::from("/sys/fs/cgroup"),
            meminfo: PathBuf::from("/proc/meminfo"),
        }
    }

    /// Files in a folder of the caller's choice.
    #[must_use]
    pub fn in_folder(root: &Path) -> Cgroup {
        Cgroup {
            root: root.to_owned(),
            meminfo: root.join("meminfo"),
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        Some(
            std::fs::read_to_string(self.root.join(file))
                .ok()?
                .trim()
                .to_owned(),
        )
    }
}

/// Bytes of memory: the cgroup's limit (version 2, then 1), never more than the machine has.
#[must_use]
pub fn memory_limit(cgroup: &Cgroup) -> u64 {
    let files = ["memory.max", "memory/memory.limit_in_bytes"];
    let limits = files
        .iter()
        .filter_map(|file| cgroup.read(file)?.parse::<u64>().ok());
    let limit = limits.min().unwrap_or(u64::MAX);
    limit.min(machine_memory(cgroup).unwrap_or(1 << 30))
}

/// Processors: the cgroup's quota rounded up, never more than the machine offers, at least 1.
#[must_use]
pub fn worker_threads(cgroup: &Cgroup) -> usize {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let quota = quota_v2(cgroup)
        .or_else(|| quota_v1(cgroup))
        .unwrap_or(machine);
    quota.clamp(1, machine)
}

/// `cpu.max` holds "quota period", or "max period".
fn quota_v2(cgroup: &Cgroup) -> Option<usize> {
    let text = cgroup.read("cpu.max")?;
    let (quota, period) = text.split_once(' ')?;
    processors(quota.parse().ok()?, period.parse().ok()?)
}

/// Version 1 says -1 for no quota, which does not parse as unsigned.
fn quota_v1(cgroup: &Cgroup) -> Option<usize> {
    let quota = cgroup.read("cpu/cpu.cfs_quota_us")?.parse().ok()?;
    processors(quota, cgroup.read("cpu/cpu.cfs_period_us")?.parse().ok()?)
}

fn processors(quota: usize, period: usize) -> Option<usize> {
    (period > 0).then(|| quota.div_ceil(period))
}

fn machine_memory(cgroup: &Cgroup) -> Option<u64> {
    let text = std::fs::read_to_string(&cgroup.meminfo).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_cgroup_limit_counts_but_never_more_than_the_machine_has() {
        let machine = ("meminfo", "MemTotal:  2048 kB\n");
        let limited = folder(&[machine, ("memory.max", "1048576\n")]);
        assert_eq!(memory_limit(&Cgroup::in_folder(limited.path())), 1 << 20);
        let unlimited = folder(&[machine, ("memory.max", "max\n")]);
        assert_eq!(memory_limit(&Cgroup::in_folder(unlimited.path())), 2 << 20);
        let huge = folder(&[
            machine,
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
        ]);
        assert_eq!(memory_limit(&Cgroup::in_folder(huge.path())), 2 << 20);
    }

    #[test]
    fn a_quota_of_less_than_one_processor_is_one_thread() {
        let half = folder(&[("cpu.max", "50000 100000\n")]);
        assert_eq!(worker_threads(&Cgroup::in_folder(half.path())), 1);
        let machine = std::thread::available_parallelism().unwrap().get();
        let unlimited = folder(&[("cpu.max", "max 100000\n")]);
        assert_eq!(
            worker_threads(&Cgroup::in_folder(unlimited.path())),
            machine
        );
        let many = folder(&[
            ("cpu/cpu.cfs_quota_us", "9900000"),
            ("cpu/cpu.cfs_period_us", "100000"),
        ]);
        assert_eq!(worker_threads(&Cgroup::in_folder(many.path())), machine);
    }
}
