//! Two reports side by side. A change counts when it is larger than the noise: when the ranges of
//! the repeated runs have nothing in common. Without repeated runs nobody knows the noise, and
//! the comparison says so.

mod conditions;
mod read;
mod text;

pub use conditions::Difference;
pub use read::{ReadError, read};

pub use super::spread::Spread;

use super::spread;
use super::{Operation, Report, Run};

/// What two reports have in common and what changed from the first to the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Name of the scenario, of both or of the first.
    pub scenario: String,
    /// How many runs each has.
    pub runs: (usize, usize),
    /// Why the two may not be comparable, a sentence each.
    pub warnings: Vec<String>,
    /// Settings that differ.
    pub differences: Vec<Difference>,
    /// Of all requests.
    pub rows: Vec<Row>,
    /// Of each kind of operation that both have.
    pub operations: Vec<(String, Vec<Row>)>,
}

/// A figure of both.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// How to write it.
    pub unit: Unit,
    /// Over the runs of the first; none when no run has it.
    pub a: Option<Spread>,
    /// Over the runs of the second.
    pub b: Option<Spread>,
    /// From median to median, as a share of the first; none from nothing.
    pub change: Option<f64>,
    /// What the change means.
    pub judgement: Judgement,
}

/// Units of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests a second; more is better.
    Rate,
    /// Milliseconds; less is better.
    Duration,
    /// A share; less is better.
    Errors,
    /// A share; more is better.
    Availability,
}

impl Unit {
    fn more_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::Availability)
    }
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The ranges are apart, and the second is better.
    Better,
    /// The ranges are apart, and the second is worse.
    Worse,
    /// The ranges overlap.
    WithinNoise,
    /// All runs of both have the same value.
    Same,
    /// A side has one run, or none.
    NoNoiseKnown,
}

/// Compares what came first (`a`) with what came after it (`b`).
#[must_use]
pub fn compare(a: &Report, b: &Report) -> Comparison {
    Comparison {
        scenario: a.scenario.clone(),
        runs: (a.runs.len(), b.runs.len()),
        warnings: conditions::warnings(a, b),
        differences: conditions::differences(a, b),
        rows: ROWS
            .iter()
            .map(|&(name, unit, of)| row(name, unit, figures(a, of), figures(b, of)))
            .collect(),
        operations: operations(a, b),
    }
}

/// How to read a figure off a run; none when the run does not have it.
type Of = fn(&Run) -> Option<f64>;

const ROWS: [(&str, Unit, Of); 11] = [
    ("good answers", Unit::Rate, |run| {
        some(run, run.achieved_rate)
    }),
    ("p50", Unit::Duration, |run| some(run, run.latency.p50)),
    ("p95", Unit::Duration, |run| some(run, run.latency.p95)),
    ("p99", Unit::Duration, |run| some(run, run.latency.p99)),
    ("p99.9", Unit::Duration, |run| some(run, run.latency.p999)),
    ("max", Unit::Duration, |run| some(run, run.latency.max)),
    ("errors", Unit::Errors, |run| {
        some(run, run.errors as f64 / run.attempted as f64)
    }),
    ("availability", Unit::Availability, |run| {
        some(run, run.availability)
    }),
    ("visible p50", Unit::Duration, |run| {
        seen(run, run.visibility.lag.p50)
    }),
    ("visible p95", Unit::Duration, |run| {
        seen(run, run.visibility.lag.p95)
    }),
    ("visible p99", Unit::Duration, |run| {
        seen(run, run.visibility.lag.p99)
    }),
];

fn some(run: &Run, value: f64) -> Option<f64> {
    (run.attempted > 0).then_some(value)
}

fn seen(run: &Run, value: f64) -> Option<f64> {
    (run.visibility.lag.count > 0).then_some(value)
}

fn figures(report: &Report, of: Of) -> Option<Spread> {
    Spread::of(report.runs.iter().filter_map(of))
}

fn operations(a: &Report, b: &Report) -> Vec<(String, Vec<Row>)> {
    let (of_a, of_b) = (spread::operations(a), spread::operations(b));
    let both = of_a.iter().filter_map(|(name, a)| {
        let (_, b) = of_b.iter().find(|(other, _)| other == name)?;
        Some((*name, a, b))
    });
    both.map(|(name, a, b)| {
        let p50 = |operation: &Operation| operation.latency.p50;
        let p99 = |operation: &Operation| operation.latency.p99;
        let rows = vec![
            row("p50", Unit::Duration, asked(a, p50), asked(b, p50)),
            row("p99", Unit::Duration, asked(a, p99), asked(b, p99)),
        ];
        (name.to_owned(), rows)
    })
    .collect()
}

fn asked(operations: &[&Operation], of: impl Fn(&Operation) -> f64) -> Option<Spread> {
    let asked = operations
        .iter()
        .filter(|operation| operation.attempted > 0);
    Spread::of(asked.map(|operation| of(operation)))
}

fn row(name: &'static str, unit: Unit, a: Option<Spread>, b: Option<Spread>) -> Row {
    let both = a.zip(b);
    let change = both
        .filter(|(a, _)| a.median != 0.0)
        .map(|(a, b)| b.median / a.median - 1.0);
    let judgement = both.map_or(Judgement::NoNoiseKnown, |(a, b)| judge(unit, a, b));
    Row {
        name,
        unit,
        a,
        b,
        change,
        judgement,
    }
}

fn judge(unit: Unit, a: Spread, b: Spread) -> Judgement {
    if a.runs < 2 || b.runs < 2 {
        Judgement::NoNoiseKnown
    } else if (a.min, a.max) == (b.min, b.max) && a.min == a.max {
        Judgement::Same
    } else if !a.is_apart_from(&b) {
        Judgement::WithinNoise
    } else if (b.median > a.median) == unit.more_is_better() {
        Judgement::Better
    } else {
        Judgement::Worse
    }
}

#[cfg(test)]
mod tests;
