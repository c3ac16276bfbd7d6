//! One `runtime_stats` line every 30 seconds: what a graph of the last day is drawn from when
//! there is nothing but logs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics;
use crate::shutdown::Shutdown;

/// Kernel clock ticks a second; Linux shows user space this value on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// A number that a service adds to the line, such as its cache's entries.
type Extra = (&'static str, Box<dyn Fn() -> u64 + Send>);

static EXTRAS: Mutex<Vec<Extra>> = Mutex::new(Vec::new());

/// Adds a number to each line, such as `l1_entries`.
pub fn add(name: &'static str, read: impl Fn() -> u64 + Send + 'static) {
    let mut extras = EXTRAS.lock().unwrap_or_else(PoisonError::into_inner);
    extras.retain(|(known, _)| *known != name);
    extras.push((name, Box::new(read)));
}

/// Writes a line in every interval until the process stops. `workers` is the number of threads
/// that `busy_ratio` is a part of.
pub fn start(interval: Duration, workers: usize, shutdown: &Shutdown) {
    let stopped = shutdown.stopped_owned();
    tokio::spawn(async move {
        let mut stopped = std::pin::pin!(stopped);
        let mut ticks = tokio::time::interval(interval);
        let mut before = (Instant::now(), Process::read());
        ticks.tick().await;
        loop {
            tokio::select! {
                () = &mut stopped => return,
                _ = ticks.tick() => {}
            }
            let now = (Instant::now(), Process::read());
            write_line(&before, &now, workers);
            before = now;
        }
    });
}

fn write_line(before: &(Instant, Process), now: &(Instant, Process), workers: usize) {
    let elapsed = (now.0 - before.0).as_secs_f64() * workers.max(1) as f64;
    let busy = (now.1.cpu_seconds - before.1.cpu_seconds) / elapsed.max(f64::EPSILON);
    let queues = queue_depths();
    let extras = extras();
    tracing::info!(
        target: "runtime_stats",
        rss_bytes = now.1.rss_bytes,
        allocated_bytes = now.1.anonymous_bytes,
        threads = now.1.threads,
        tokio_tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
        busy_ratio = (busy * 1000.0).round() / 1000.0,
        pool_in_use = metrics::pool_connections_in_use(),
        connections = metrics::ACTIVE_CONNECTIONS.get(),
        queues,
        extras,
        "runtime_stats"
    );
}

/// `append=3 cache_writes=0`: the bounded queues and their depths.
fn queue_depths() -> String {
    use prometheus::core::Collector as _;
    let families = metrics::QUEUE_DEPTH.collect();
    let queues = families.iter().flat_map(|family| family.get_metric());
    let named = queues.map(|queue| {
        let name = queue
            .get_label()
            .first()
            .map(|label| label.value())
            .unwrap_or_default();
        format!("{name}={}", queue.get_gauge().get_value())
    });
    named.collect::<Vec<_>>().join(" ")
}

fn extras() -> String {
    let extras = EXTRAS.lock().unwrap_or_else(PoisonError::into_inner);
    extras
        .iter()
        .map(|(name, read)| format!("{name}={}", read()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What the kernel knows of this process.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Process {
    rss_bytes: u64,
    /// Anonymous resident memory: what the allocator holds and has touched.
    anonymous_bytes: u64,
    threads: u64,
    cpu_seconds: f64,
}

impl Process {
    fn read() -> Process {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Process::parse(&read("/proc/self/status"), &read("/proc/self/stat"))
    }

    fn parse(status: &str, stat: &str) -> Process {
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        // The program's name, in brackets, may hold blanks; user and system time stand 11 and 12
        // fields after it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Process {
            rss_bytes: field("VmRSS:") * 1024,
            anonymous_bytes: field("RssAnon:") * 1024,
            threads: field("Threads:"),
            cpu_seconds: ticks / TICKS_PER_SECOND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_even_when_the_program_has_a_strange_name() {
        let status = "Name:\tx\nVmRSS:\t  2048 kB\nRssAnon:\t 1024 kB\nThreads:\t7\n";
        let stat = "1 (a ) b) S 1 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 7 0 100 1 1";
        let expected = Process {
            rss_bytes: 2 << 20,
            anonymous_bytes: 1 << 20,
            threads: 7,
            cpu_seconds: 2.0,
        };
        assert_eq!(Process::parse(status, stat), expected);
    }

    #[test]
    fn this_process_has_memory_and_a_thread() {
        let process = Process::read();
        assert!(process.rss_bytes > 0 && process.anonymous_bytes > 0 && process.threads > 0);
    }
}
