//! The figures of a run, made of what was recorded.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;

use crate::recorder::{Measured, Status};
use crate::report::{Example, Latency, Operation, Run, Second, Server, Visibility};

/// Fewer operations that began on time than this share make a run void.
const ON_TIME_MIN: f64 = 0.95;

/// What is known of a run beside its measurements.
#[derive(Debug)]
pub struct Frame {
    /// Its seed.
    pub seed: u64,
    /// When the measured phase began.
    pub started_at: DateTime<Utc>,
    /// How long it was, in seconds: less than planned when it was interrupted.
    pub seconds: f64,
    /// The rate that was to be sent, in requests a second.
    pub target_rate: Option<f64>,
    /// The operations' names.
    pub names: Vec<&'static str>,
    /// What the servers told.
    pub servers: Vec<Server>,
}

/// The figures.
#[must_use]
pub fn run(measured: &Measured, frame: Frame) -> Run {
    let attempted = measured.attempted;
    let errors = measured
        .operations
        .iter()
        .map(|operation| operation.errors)
        .sum();
    let good = attempted - errors;
    // What is answered while an interrupted run drains belongs to no second of it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds"
    )]
    let whole = frame.seconds.ceil() as usize;
    let answered: u64 = measured
        .timeline
        .iter()
        .take(whole)
        .map(|second| second.good)
        .sum();
    let on_time = match measured.begun {
        0 => 1.0,
        begun => 1.0 - share(measured.late, begun),
    };
    Run {
        seed: frame.seed,
        started_at: frame.started_at,
        seconds: frame.seconds,
        target_rate: frame.target_rate,
        due: measured.due,
        server_errors: measured.server_errors,
        attempted,
        good,
        errors,
        achieved_rate: if frame.seconds > 0.0 {
            float(answered) / frame.seconds
        } else {
            0.0
        },
        availability: if attempted == 0 {
            1.0
        } else {
            share(good, attempted)
        },
        on_time,
        void: void(on_time, attempted),
        waited_for_connection: share(measured.waited, attempted.max(1)),
        latency: latency(&measured.latency),
        operations: operations(measured, &frame.names),
        violations: examples(&measured.violations),
        failures: examples(&measured.failures),
        visibility: Visibility {
            lag: latency(&measured.visibility),
            not_seen: measured.not_seen,
            looks: measured.looks,
        },
        timeline: timeline(measured, whole),
        servers: frame.servers,
    }
}

fn void(on_time: f64, attempted: u64) -> Option<String> {
    if attempted == 0 {
        return Some("no request was sent in the measured phase".to_owned());
    }
    (on_time < ON_TIME_MIN).then(|| {
        format!(
            "only {:.1} % of the operations began on time, of at least {:.0} %: this machine was \
             too busy to send so many",
            on_time * 100.0,
            ON_TIME_MIN * 100.0
        )
    })
}

fn operations(measured: &Measured, names: &[&'static str]) -> Vec<Operation> {
    let each = measured.operations.iter().zip(names);
    each.map(|(operation, name)| Operation {
        name: (*name).to_owned(),
        attempted: operation.attempted,
        errors: operation.errors,
        statuses: statuses(&operation.statuses),
        latency: latency(&operation.latency),
    })
    .collect()
}

fn statuses(counted: &BTreeMap<Status, u64>) -> BTreeMap<String, u64> {
    let named = counted.iter().map(|(status, count)| match status {
        Status::Http(status) => (status.to_string(), *count),
        Status::None(what) => ((*what).to_owned(), *count),
    });
    named.collect()
}

fn examples(kinds: &BTreeMap<String, (u64, String)>) -> Vec<Example> {
    let mut examples: Vec<_> = kinds
        .iter()
        .map(|(kind, (count, example))| Example {
            kind: kind.clone(),
            count: *count,
            example: example.clone(),
        })
        .collect();
    examples.sort_by_key(|example| std::cmp::Reverse(example.count));
    examples
}

fn timeline(measured: &Measured, whole: usize) -> Vec<Second> {
    let seconds = measured.timeline.iter().take(whole).zip(0..);
    seconds
        .map(|(second, at)| {
            let [p50, p99, max] = second.percentiles().map(milliseconds);
            Second {
                at,
                good: second.good,
                errors: second.errors,
                p50,
                p99,
                max,
            }
        })
        .collect()
}

/// The distribution in milliseconds, of microseconds.
#[must_use]
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |percentile| milliseconds(histogram.value_at_percentile(percentile));
    if histogram.is_empty() {
        return Latency::default();
    }
    let curve = histogram.iter_quantiles(5).map(|step| {
        let percentile = step.quantile() * 100.0;
        let value = step.value_iterated_to().min(histogram.max());
        (percentile, milliseconds(value))
    });
    Latency {
        count: histogram.len(),
        mean: histogram.mean() / 1e3,
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        p999: at(99.9),
        max: milliseconds(histogram.max()),
        curve: curve.collect(),
    }
}

fn milliseconds(micros: u64) -> f64 {
    float(micros) / 1e3
}

fn share(part: u64, of: u64) -> f64 {
    float(part) / float(of)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times far below 2^52"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::micros::histogram;

    #[test]
    fn a_distribution_has_its_percentiles_and_a_curve_up_to_the_longest() {
        let mut micros = histogram(3);
        for value in 1..=1000 {
            micros.record(value * 1000).unwrap();
        }
        let latency = latency(&micros);
        assert!((latency.p50 - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 1.0, "{latency:?}");
        let last = latency.curve.last().unwrap();
        assert!(
            (last.0 - 100.0).abs() < 1e-9 && (last.1 - 1000.0).abs() < 1.0,
            "{last:?}"
        );
    }

    #[test]
    fn a_run_whose_operations_began_late_is_void() {
        assert_eq!(void(0.951, 10), None);
        assert!(void(0.949, 10).unwrap().contains("only 94.9 %"));
        assert!(void(1.0, 0).unwrap().contains("no request"));
    }
}
