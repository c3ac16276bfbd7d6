//! When requests are due: at even distances. The clock is a thread of its own that sleeps, because
//! the timers of the runtime are a millisecond apart.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::Load;
use crate::gauge::Gauge;

/// A request that is handed over so much after it was due was not sent when it should.
const LATE: Duration = Duration::from_millis(1);

/// The load goes on for so long, so that it is there while the processor times are read.
const TAIL: Duration = Duration::from_millis(200);

/// A request is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    /// Whether it is of the measurement, and neither of what is before nor of what is after.
    pub(super) counts: bool,
}

/// The requests of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    begins: Instant,
    interval: Duration,
    threads: u32,
    warm_up: Duration,
    time: Duration,
}

impl Pace {
    /// From now on `rate` requests a second of all threads together.
    pub(super) fn new(rate: f64, threads: usize, load: &Load) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        Self {
            begins: Instant::now(),
            interval: Duration::from_secs_f64(f64::from(threads) / rate),
            threads,
            warm_up: load.warm_up,
            time: load.time,
        }
    }

    /// The thread's part; the threads take turns.
    pub(super) fn of_thread(self, number: usize) -> Self {
        let number = u32::try_from(number).unwrap_or_default();
        let later = self.interval * number / self.threads;
        Self {
            begins: self.begins + later,
            ..self
        }
    }

    /// Hands them over until the end; which part of those that count came late.
    pub(super) fn keep(self, gauge: &Gauge, to: &UnboundedSender<Due>) -> f64 {
        let (mut counted, mut late) = (0_u32, 0_u32);
        for number in 0.. {
            let due = self.due(number);
            if due.at > self.begins + self.warm_up + self.time + TAIL || !gauge.runs() {
                break;
            }
            let wait = due.at.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            counted += u32::from(due.counts);
            late += u32::from(due.counts && due.at.elapsed() > LATE);
            // Nobody is left to ask when all connections failed.
            if to.send(due).is_err() {
                break;
            }
        }
        f64::from(late) / f64::from(counted.max(1))
    }

    fn due(&self, number: u32) -> Due {
        let at = self.interval.as_secs_f64() * f64::from(number);
        let after = Duration::from_secs_f64(at);
        let window = self.warm_up..self.warm_up + self.time;
        Due {
            at: self.begins + after,
            counts: window.contains(&after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_and_only_those_of_the_window_count() {
        let load = Load {
            address: "127.0.0.1:1".parse().unwrap(),
            expected: 200,
            connections: 4,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(2),
        };
        let pace = Pace::new(100.0, 2, &load);
        let dues: Vec<Due> = (0..200).map(|number| pace.due(number)).collect();
        assert_eq!(dues[50].at - pace.begins, Duration::from_secs(1));
        assert_eq!(dues.iter().filter(|due| due.counts).count(), 100);
        let second = pace.of_thread(1);
        assert_eq!(second.begins - pace.begins, Duration::from_millis(10));
    }
}
