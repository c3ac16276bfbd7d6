//! What a run has to hold.

use crate::report::{Objective, Run};

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objectives {
    /// Half of all requests take less, in milliseconds.
    pub p50: f64,
    /// 95 of 100 take less.
    pub p95: f64,
    /// 99 of 100 take less.
    pub p99: f64,
    /// A smaller share of the requests fails.
    pub errors: f64,
    /// Of the requests that were due, at least this share is answered well; open loop only.
    pub rate: f64,
    /// At most so many answers with a status of 500 and above, when that is limited.
    pub server_errors: Option<u32>,
}

impl Objectives {
    /// Judges the runs, each by itself.
    #[must_use]
    pub fn judge(&self, runs: &[Run]) -> Vec<Objective> {
        let mut objectives = vec![
            below("p50", self.p50, runs, |run| run.latency.p50),
            below("p95", self.p95, runs, |run| run.latency.p95),
            below("p99", self.p99, runs, |run| run.latency.p99),
            below("errors", self.errors, runs, |run| 1.0 - run.availability),
        ];
        if runs.iter().any(|run| run.target_rate.is_some()) {
            objectives.push(objective("rate", self.rate, runs, reached, |value| {
                value >= self.rate
            }));
        }
        if let Some(limit) = self.server_errors {
            let limit = f64::from(limit);
            objectives.push(objective(
                "server_errors",
                limit,
                runs,
                server_errors,
                |value| value <= limit,
            ));
        }
        objectives
    }
}

fn below(name: &str, limit: f64, runs: &[Run], value: fn(&Run) -> f64) -> Objective {
    // No error at all is below every limit, also below 0.
    objective(name, limit, runs, value, |value| {
        value < limit || value == 0.0
    })
}

fn objective(
    name: &str,
    limit: f64,
    runs: &[Run],
    value: impl Fn(&Run) -> f64,
    holds: impl Fn(f64) -> bool,
) -> Objective {
    // Of a run that was interrupted before its first request there is nothing to judge.
    let begun = runs.iter().filter(|run| run.attempted > 0);
    let values: Vec<f64> = begun.map(value).collect();
    Objective {
        name: name.to_owned(),
        limit,
        held: values.iter().all(|value| holds(*value)),
        values,
    }
}

/// Of what was due, the share that was answered well.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn reached(run: &Run) -> f64 {
    match run.due {
        0 => 1.0,
        due => run.achieved_rate * run.seconds / due as f64,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn server_errors(run: &Run) -> f64 {
    run.server_errors as f64
}

/// What was not as it should be, a sentence each; none when everything was.
#[must_use]
pub fn reasons(objectives: &[Objective], runs: &[Run]) -> Vec<String> {
    let missed = objectives.iter().filter(|objective| !objective.held);
    let mut reasons: Vec<String> = missed.map(missed_text).collect();
    for run in runs {
        if let Some(void) = &run.void {
            reasons.push(format!("the run with seed {} is void: {void}", run.seed));
        }
        for violation in &run.violations {
            reasons.push(format!(
                "violated {} {} times with seed {}: {}",
                violation.kind, violation.count, run.seed, violation.example
            ));
        }
        if run.visibility.not_seen > 0 {
            reasons.push(format!(
                "{} writes were not seen in time with seed {}",
                run.visibility.not_seen, run.seed
            ));
        }
    }
    reasons
}

fn missed_text(objective: &Objective) -> String {
    let worst = match objective.name.as_str() {
        "rate" => objective
            .values
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min),
        _ => objective.values.iter().copied().fold(0.0, f64::max),
    };
    let limit = objective.limit;
    match objective.name.as_str() {
        "errors" => format!(
            "missed errors: {:.3} %, limit {:.3} %",
            worst * 100.0,
            limit * 100.0
        ),
        "rate" => format!(
            "missed rate: {:.1} % of what was due, at least {:.1} %",
            worst * 100.0,
            limit * 100.0
        ),
        "server_errors" => format!("missed server_errors: {worst} answers 5xx, limit {limit}"),
        name => format!("missed {name}: {worst:.2} ms, limit {limit} ms"),
    }
}
