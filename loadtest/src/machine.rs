//! The machine that the load comes from: a figure without it says nothing.

use std::fs;

use crate::report::Machine;

/// What this one says of itself.
#[must_use]
pub(crate) fn this() -> Machine {
    let processor = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        memory_bytes: kib.unwrap_or(0) * 1024,
        system: format!("{} {}", std::env::consts::OS, release.trim())
            .trim_end()
            .to_owned(),
    }
}

/// The first value of that name in a file of `name: value` lines.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
