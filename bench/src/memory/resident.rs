//! How much memory a process has, looked at again and again while it is under load.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

const EVERY: Duration = Duration::from_millis(250);

/// Averages in MiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resident {
    /// Of the first quarter of the time.
    pub(super) first: f64,
    /// Of its last quarter.
    pub(super) last: f64,
    highest: f64,
}

impl Resident {
    /// Looks at a process for so long, after it had time to settle.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) async fn watch(pid: u32, settle: Duration, time: Duration) -> anyhow::Result<Self> {
        tokio::time::sleep(settle).await;
        let (begun, mut looks) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            looks.push(mib(pid)?);
            tokio::time::sleep(EVERY).await;
        }
        Self::of(&looks)
    }

    fn of(looks: &[f64]) -> anyhow::Result<Self> {
        let quarter = looks.len() / 4;
        ensure!(quarter > 0, "too short a time to look at memory");
        let (first, last) = (&looks[..quarter], &looks[looks.len() - quarter..]);
        let count = f64::from(u32::try_from(quarter)?);
        Ok(Self {
            first: first.iter().sum::<f64>() / count,
            last: last.iter().sum::<f64>() / count,
            highest: looks.iter().copied().fold(0.0, f64::max),
        })
    }

    pub(super) fn words(&self) -> String {
        let Self {
            first,
            last,
            highest,
        } = self;
        format!(
            "resident {first:.1} MiB in the first quarter, {last:.1} MiB in the last, at most \
             {highest:.1} MiB"
        )
    }
}

fn mib(pid: u32) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: u32 = kib.context("it has no memory any more")?.parse()?;
    Ok(f64::from(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_quarter_are_averages() {
        let resident = Resident::of(&[10.0, 12.0, 90.0, 1.0, 1.0, 1.0, 20.0, 24.0]).unwrap();
        assert_eq!((resident.first, resident.last), (11.0, 22.0));
        assert!(resident.words().ends_with("at most 90.0 MiB"));
        assert!(Resident::of(&[1.0; 3]).is_err());
    }

    #[test]
    fn this_process_has_memory() {
        assert!(mib(std::process::id()).unwrap() > 0.1);
    }
}
