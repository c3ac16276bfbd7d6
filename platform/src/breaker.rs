//! A circuit breaker: after enough failures in a short time nothing is tried for a while, then
//! one call at a time tries again.
//!
//! By hand, because the open state must let exactly one probe through at a time and be shown as a
//! metric; the whole of it is one small state machine, driven by an instant that tests choose.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics;

/// Failures within [`WINDOW`] that open the circuit.
const FAILURES_MAX: usize = 20;
/// How far back failures count.
const WINDOW: Duration = Duration::from_secs(1);
/// How long an open circuit lets nothing through.
const OPEN_TIME: Duration = Duration::from_secs(5);
/// Successful probes that close it again.
const PROBES_NEEDED: u32 = 3;

/// What a circuit lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// One probe at a time.
    HalfOpen,
    /// Nothing.
    Open,
}

/// A named circuit, shown as `circuit_breaker_state{name}` (0 closed, 1 half open, 2 open).
#[derive(Debug)]
pub struct Breaker {
    name: &'static str,
    circuit: Mutex<Circuit>,
}

#[derive(Debug)]
enum Circuit {
    Closed { failures: VecDeque<Instant> },
    Open { until: Instant },
    HalfOpen { probing: bool, succeeded: u32 },
}

/// Leave to make one call. Dropping it without a word counts as a failure: the caller was
/// cancelled, most likely because the call took too long.
#[derive(Debug)]
#[must_use = "report how the call went"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    reported: bool,
}

/// Nothing is tried at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("circuit `{0}` is open")]
pub struct CircuitOpen(
    /// The circuit's name.
    pub &'static str,
);

impl Breaker {
    /// A closed circuit.
    #[must_use]
    pub fn new(name: &'static str) -> Breaker {
        metrics::CIRCUIT_BREAKER_STATE
            .with_label_values(&[name])
            .set(0);
        Breaker {
            name,
            circuit: Mutex::new(Circuit::closed()),
        }
    }

    /// Asks for leave to make a call.
    ///
    /// # Errors
    /// While the circuit is open, or half open with a probe under way.
    pub fn permit(&self) -> Result<Permit<'_>, CircuitOpen> {
        self.permit_at(Instant::now())
    }

    /// What the circuit lets through now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state_at(Instant::now())
    }

    fn permit_at(&self, now: Instant) -> Result<Permit<'_>, CircuitOpen> {
        let allowed = self.change(|circuit| circuit.allow(now));
        let permit = Permit {
            breaker: self,
            reported: false,
        };
        if allowed { Ok(permit) } else { permit.refuse() }
    }

    fn state_at(&self, now: Instant) -> State {
        self.change(|circuit| circuit.state(now))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> T {
        // A panic between two assignments cannot happen here, so poison means nothing.
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut circuit);
        let shown = match *circuit {
            Circuit::Closed { .. } => 0,
            Circuit::HalfOpen { .. } => 1,
            Circuit::Open { .. } => 2,
        };
        metrics::CIRCUIT_BREAKER_STATE
            .with_label_values(&[self.name])
            .set(shown);
        result
    }
}

impl<'a> Permit<'a> {
    /// The call succeeded.
    pub fn succeeded(mut self) {
        self.reported = true;
        self.breaker.change(Circuit::succeed);
    }

    /// The call failed in a way that says something about the other side.
    pub fn failed(mut self) {
        self.reported = true;
        self.breaker.change(|circuit| circuit.fail(Instant::now()));
    }

    fn refuse(mut self) -> Result<Permit<'a>, CircuitOpen> {
        self.reported = true;
        Err(CircuitOpen(self.breaker.name))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.breaker.change(|circuit| circuit.fail(Instant::now()));
        }
    }
}

impl Circuit {
    fn closed() -> Circuit {
        Circuit::Closed {
            failures: VecDeque::with_capacity(FAILURES_MAX),
        }
    }

    fn state(&self, now: Instant) -> State {
        match self {
            Circuit::Closed { .. } => State::Closed,
            Circuit::Open { until } if now < *until => State::Open,
            Circuit::Open { .. } | Circuit::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn allow(&mut self, now: Instant) -> bool {
        if matches!(self, Circuit::Open { until } if now >= *until) {
            *self = Circuit::HalfOpen {
                probing: false,
                succeeded: 0,
            };
        }
        match self {
            Circuit::Closed { .. } => true,
            Circuit::Open { .. } => false,
            Circuit::HalfOpen { probing, .. } => !std::mem::replace(probing, true),
        }
    }

    fn succeed(&mut self) {
        if let Circuit::HalfOpen { probing, succeeded } = self {
            *probing = false;
            *succeeded += 1;
            if *succeeded >= PROBES_NEEDED {
                *self = Circuit::closed();
            }
        }
    }

    fn fail(&mut self, now: Instant) {
        match self {
            Circuit::Closed { failures } => {
                while failures.front().is_some_and(|first| now - *first > WINDOW) {
                    failures.pop_front();
                }
                failures.push_back(now);
                if failures.len() >= FAILURES_MAX {
                    *self = Circuit::Open {
                        until: now + OPEN_TIME,
                    };
                }
            }
            Circuit::HalfOpen { .. } => {
                *self = Circuit::Open {
                    until: now + OPEN_TIME,
                }
            }
            // A call that began before the circuit opened says nothing new.
            Circuit::Open { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(circuit: &mut Circuit, at: Instant) {
        for _ in 0..FAILURES_MAX {
            circuit.fail(at);
        }
    }

    #[test]
    fn twenty_failures_in_a_second_open_it_and_twenty_spread_out_do_not() {
        let start = Instant::now();
        let mut quick = Circuit::closed();
        open(&mut quick, start);
        assert_eq!(quick.state(start), State::Open);
        assert!(!quick.allow(start + Duration::from_secs(4)));

        let mut slow = Circuit::closed();
        for i in 0..40 {
            slow.fail(start + Duration::from_millis(100) * i);
        }
        assert_eq!(slow.state(start + Duration::from_secs(4)), State::Closed);
    }

    #[test]
    fn after_five_seconds_one_probe_at_a_time_and_three_successes_close_it() {
        let start = Instant::now();
        let mut circuit = Circuit::closed();
        open(&mut circuit, start);
        let later = start + OPEN_TIME;
        for _ in 0..PROBES_NEEDED {
            assert_eq!(circuit.state(later), State::HalfOpen);
            assert!(circuit.allow(later));
            assert!(!circuit.allow(later), "a second probe at the same time");
            circuit.succeed();
        }
        assert_eq!(circuit.state(later), State::Closed);
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let start = Instant::now();
        let mut circuit = Circuit::closed();
        open(&mut circuit, start);
        assert!(circuit.allow(start + OPEN_TIME));
        circuit.fail(start + OPEN_TIME);
        assert_eq!(circuit.state(start + OPEN_TIME), State::Open);
        assert!(!circuit.allow(start + OPEN_TIME));
    }

    #[test]
    fn a_cancelled_call_counts_as_a_failure_and_the_metric_follows() {
        let breaker = Breaker::new("breaker-test");
        for _ in 0..FAILURES_MAX {
            drop(breaker.permit().unwrap());
        }
        assert_eq!(breaker.permit().unwrap_err(), CircuitOpen("breaker-test"));
        assert_eq!(breaker.state(), State::Open);
        let shown = metrics::CIRCUIT_BREAKER_STATE
            .with_label_values(&["breaker-test"])
            .get();
        assert_eq!(shown, 2);
    }
}
