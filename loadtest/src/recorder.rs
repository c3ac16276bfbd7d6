//! Counts and histograms of a measured phase. Everything is recorded; what a report shows is made
//! of it in [`crate::figures`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measured_second::SecondMeasured;
use crate::micros::{histogram, micros};
use crate::operations::Fault;

/// Kinds of failures and violations that are told apart.
const KINDS_MAX: usize = 64;
/// Servers write what they like.
const KIND_CHARS_MAX: usize = 80;
const EXAMPLE_CHARS_MAX: usize = 2_000;
/// A request that was not answered within its time.
pub const TIMEOUT: &str = "timeout";
/// A request that was not answered before the end of the run.
pub const GIVEN_UP: &str = "given_up";
/// Under this kind are counted the rest.
const OTHERS: &str = "others";

/// What happened to one request.
#[derive(Debug)]
pub struct Record {
    /// Index of the operation in the scenario's list.
    pub operation: usize,
    /// When it was to start.
    pub intended: Instant,
    /// When its last byte was there, or it was given up.
    pub done: Instant,
    /// Whether it waited for a connection.
    pub waited: bool,
    /// The HTTP status, or what happened instead.
    pub status: Status,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// With an HTTP status.
    Http(u16),
    /// Without.
    None(&'static str),
}

/// Where everybody records.
#[derive(Debug)]
pub struct Recorder {
    phase: Phase,
    inner: Mutex<Measured>,
}

/// The measured phase: from here, so long.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Its first moment.
    pub begin: Instant,
    /// How long.
    pub length: Duration,
}

impl Phase {
    /// Whether the moment is in it.
    #[must_use]
    pub fn contains(&self, at: Instant) -> bool {
        at >= self.begin && at < self.begin + self.length
    }

    /// Whole seconds since it began, when the moment is in it.
    fn second(&self, at: Instant) -> Option<usize> {
        let since = self.contains(at).then(|| at - self.begin)?;
        usize::try_from(since.as_secs()).ok()
    }
}

/// What was measured so far.
#[derive(Debug)]
pub struct Measured {
    /// Requests whose intended start was in the phase.
    pub attempted: u64,
    /// Of those of them that were answered well, and of those that were waited for in vain. A quick
    /// refusal is an error, and no quick answer.
    pub latency: Histogram<u64>,
    /// Requests that the operations of the phase were to send.
    pub due: u64,
    /// Answers with a status of 500 and above, also those of the warm-up.
    pub server_errors: u64,
    /// How often somebody looked whether a write is seen.
    pub looks: u64,
    /// By operation.
    pub operations: Vec<OperationMeasured>,
    /// How many waited for a connection.
    pub waited: u64,
    /// Failures by kind: how many, and the first.
    pub failures: BTreeMap<String, (u64, String)>,
    /// The same of violations, also of those in the warm-up.
    pub violations: BTreeMap<String, (u64, String)>,
    /// Operations that were begun, and those of them that began late.
    pub begun: u64,
    /// See there.
    pub late: u64,
    /// From a write's answer until it was seen.
    pub visibility: Histogram<u64>,
    /// Writes that were not seen in time.
    pub not_seen: u64,
    /// By second of the answer.
    pub timeline: Vec<SecondMeasured>,
}

/// One operation.
#[derive(Debug)]
pub struct OperationMeasured {
    /// All of its requests.
    pub attempted: u64,
    /// As above.
    pub latency: Histogram<u64>,
    /// How they ended.
    pub statuses: BTreeMap<Status, u64>,
    /// Those that failed.
    pub errors: u64,
}

impl Recorder {
    /// For so many operations.
    #[must_use]
    pub fn new(phase: Phase, operations: usize) -> Self {
        let operation = || OperationMeasured {
            attempted: 0,
            latency: histogram(3),
            statuses: BTreeMap::new(),
            errors: 0,
        };
        let measured = Measured {
            attempted: 0,
            latency: histogram(3),
            due: 0,
            server_errors: 0,
            looks: 0,
            operations: std::iter::repeat_with(operation).take(operations).collect(),
            waited: 0,
            failures: BTreeMap::new(),
            violations: BTreeMap::new(),
            begun: 0,
            late: 0,
            visibility: histogram(3),
            not_seen: 0,
            timeline: Vec::new(),
        };
        Self {
            phase,
            inner: Mutex::new(measured),
        }
    }

    /// The measured phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A flow of so many requests was to begin then.
    pub fn due(&self, intended: Instant, requests: usize) {
        if self.phase.contains(intended) {
            self.measured().due += requests as u64;
        }
    }

    /// Somebody looked whether a write is seen.
    pub fn looked(&self) {
        self.measured().looks += 1;
    }

    /// An operation was begun so long after its intended start.
    pub fn begun(&self, intended: Instant, lateness: Duration, late_after: Duration) {
        if self.phase.contains(intended) {
            let mut inner = self.measured();
            inner.begun += 1;
            inner.late += u64::from(lateness > late_after);
        }
    }

    /// A request ended.
    pub fn record(&self, record: Record) {
        let micros = micros(record.done.saturating_duration_since(record.intended));
        let failed = matches!(record.fault, Some(Fault::Error { .. }));
        let took_time = !failed || record.status.was_waited_for();
        let mut inner = self.measured();
        inner.server_errors += u64::from(matches!(record.status, Status::Http(500..)));
        // A failure stands where it was due: what answers too late has failed then.
        let moment = if failed { record.intended } else { record.done };
        if let Some(second) = self.phase.second(moment) {
            inner.second(second).answered(failed, micros);
        }
        let counts = self.phase.contains(record.intended);
        match record.fault {
            Some(Fault::Violation { rule, example }) => {
                count(&mut inner.violations, rule.to_owned(), example);
            }
            Some(Fault::Error { kind, example }) if counts => {
                count(&mut inner.failures, kind, example);
            }
            Some(Fault::Error { .. }) | None => {}
        }
        if counts {
            inner.attempted += 1;
            inner.waited += u64::from(record.waited);
            let operation = &mut inner.operations[record.operation];
            operation.attempted += 1;
            operation.errors += u64::from(failed);
            *operation.statuses.entry(record.status).or_default() += 1;
            if took_time {
                operation.latency.saturating_record(micros);
                inner.latency.saturating_record(micros);
            }
        }
    }

    /// A write was seen so long after its answer, or not in time.
    pub fn visible(&self, after: Option<Duration>) {
        let mut inner = self.measured();
        match after {
            Some(after) => inner.visibility.saturating_record(micros(after)),
            None => inner.not_seen += 1,
        }
    }

    /// What was measured so far.
    pub fn measured(&self) -> MutexGuard<'_, Measured> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Status {
    /// Whether the client waited for its answer to the end of its patience.
    fn was_waited_for(self) -> bool {
        matches!(self, Self::None(TIMEOUT | GIVEN_UP))
    }
}

impl Measured {
    /// Seconds behind the last but one are over: their histograms are folded, because an hour of
    /// them would fill the memory.
    fn second(&mut self, index: usize) -> &mut SecondMeasured {
        while self.timeline.len() <= index {
            if let Some(over) = self.timeline.len().checked_sub(2) {
                self.timeline[over].fold();
            }
            self.timeline.push(SecondMeasured::default());
        }
        &mut self.timeline[index]
    }
}

fn count(kinds: &mut BTreeMap<String, (u64, String)>, kind: String, example: String) {
    let kind: String = kind.chars().take(KIND_CHARS_MAX).collect();
    let example = || example.chars().take(EXAMPLE_CHARS_MAX).collect();
    let kind = match kinds.len() < KINDS_MAX || kinds.contains_key(&kind) {
        true => kind,
        false => OTHERS.to_owned(),
    };
    kinds.entry(kind).or_insert_with(|| (0, example())).0 += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> (Recorder, Instant) {
        let begin = Instant::now() + Duration::from_secs(1);
        let length = Duration::from_secs(2);
        (Recorder::new(Phase { begin, length }, 1), begin)
    }

    fn record(intended: Instant, after_ms: u64, fault: Option<Fault>) -> Record {
        Record {
            operation: 0,
            intended,
            done: intended + Duration::from_millis(after_ms),
            waited: false,
            status: Status::Http(200),
            fault,
        }
    }

    #[test]
    fn latency_is_from_the_intended_start_and_belongs_to_the_phase_of_it() {
        let (recorder, begin) = recorder();
        let ms = Duration::from_millis;
        recorder.record(record(begin - ms(10), 20, None));
        recorder.record(record(begin, 100, None));
        recorder.record(record(begin + ms(1990), 50, None));
        let measured = recorder.measured();
        assert_eq!(measured.latency.len(), 2);
        assert_eq!(measured.operations[0].statuses[&Status::Http(200)], 2);
        // By second of the answer: the one that was begun before counts, the one that ended after
        // does not.
        let good: Vec<_> = measured.timeline.iter().map(|second| second.good).collect();
        assert_eq!(good, [2]);
        assert!(measured.latency.max() >= 100_000);
    }

    #[test]
    fn a_violation_is_no_error_and_counts_in_the_warm_up_too() {
        let (recorder, begin) = recorder();
        let violation = Fault::Violation {
            rule: "list_order",
            example: "b, a".to_owned(),
        };
        let error = Fault::Error {
            kind: "503 queue_full".to_owned(),
            example: "first".to_owned(),
        };
        recorder.record(record(
            begin - Duration::from_millis(500),
            1,
            Some(violation),
        ));
        recorder.record(record(begin, 1, Some(error.clone())));
        recorder.record(record(begin - Duration::from_millis(500), 1, Some(error)));
        let measured = recorder.measured();
        assert_eq!(measured.violations["list_order"], (1, "b, a".to_owned()));
        assert_eq!(measured.failures["503 queue_full"], (1, "first".to_owned()));
        assert_eq!(measured.operations[0].errors, 1);
        // A refusal after a millisecond makes no percentile better.
        assert_eq!((measured.attempted, measured.latency.len()), (1, 0));
    }

    #[test]
    fn an_answer_that_was_waited_for_in_vain_counts_with_all_its_time() {
        let (recorder, begin) = recorder();
        let fault = Fault::Error {
            kind: TIMEOUT.to_owned(),
            example: "no answer in time".to_owned(),
        };
        recorder.record(Record {
            status: Status::None(TIMEOUT),
            ..record(begin, 1500, Some(fault))
        });
        let measured = recorder.measured();
        assert!(measured.latency.max() >= 1_500_000);
        assert_eq!(measured.timeline[0].errors, 1, "where it was due");
    }

    #[test]
    fn seconds_that_are_over_keep_their_percentiles() {
        let (recorder, begin) = recorder();
        for second in [0, 1] {
            recorder.record(record(begin + Duration::from_secs(second), 100, None));
        }
        let mut measured = recorder.measured();
        measured.second(9);
        assert!(measured.timeline[0].is_folded());
        assert!(measured.timeline[0].percentiles()[1] >= 100_000);
    }
}
