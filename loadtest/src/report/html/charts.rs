//! The figures that the page's script draws: no more than it needs, as short arrays, because an
//! hour has 3,600 seconds a run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{Report, Run, Second};
use super::escape;

#[derive(Serialize)]
struct Figures<'a> {
    runs: Vec<RunFigures<'a>>,
    /// Milliseconds by the name of the percentile.
    limits: BTreeMap<&'a str, f64>,
    /// Rate, p99, and whether it held.
    search: Vec<(f64, f64, bool)>,
}

#[derive(Serialize)]
struct RunFigures<'a> {
    name: String,
    target: Option<f64>,
    latency: Curve<'a>,
    lag: Curve<'a>,
    /// At, good, errors, p50, p99, max.
    timeline: Vec<(u32, u64, u64, f64, f64, f64)>,
}

#[derive(Serialize)]
struct Curve<'a> {
    count: u64,
    points: &'a [(f64, f64)],
}

pub(super) fn json(report: &Report) -> String {
    let limits = report
        .objectives
        .iter()
        .filter(|objective| objective.name.starts_with('p'))
        .map(|objective| (objective.name.as_str(), objective.limit))
        .collect();
    let search = report.search.iter();
    escape::json(&Figures {
        runs: report.runs.iter().map(of_run).collect(),
        limits,
        search: search
            .map(|step| (step.rate, step.p99, step.held))
            .collect(),
    })
}

fn of_run(run: &Run) -> RunFigures<'_> {
    RunFigures {
        name: format!("seed {}", run.seed),
        target: run.target_rate,
        latency: Curve {
            count: run.latency.count,
            points: &run.latency.curve,
        },
        lag: Curve {
            count: run.visibility.lag.count,
            points: &run.visibility.lag.curve,
        },
        timeline: run.timeline.iter().map(of_second).collect(),
    }
}

fn of_second(second: &Second) -> (u32, u64, u64, f64, f64, f64) {
    let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
    let [p50, p99, max] = [second.p50, second.p99, second.max].map(rounded);
    (second.at, second.good, second.errors, p50, p99, max)
}
