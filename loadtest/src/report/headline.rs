//! The verdict in one line: the first thing that a reader sees, on the page and in the terminal.

use super::Report;
use super::units;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Passed,
    Missed,
    /// There was nothing to judge.
    Nothing,
}

/// One word, and what it means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) tone: Tone,
    pub(super) word: &'static str,
    pub(super) rest: String,
}

impl Headline {
    pub(super) fn of(report: &Report) -> Self {
        let attempted: u64 = report.runs.iter().map(|run| run.attempted).sum();
        if attempted == 0 && (report.verdict.passed || report.verdict.interrupted) {
            return Self {
                tone: Tone::Nothing,
                word: "Nothing measured",
                rest: if report.verdict.interrupted {
                    "it was interrupted before the first request".to_owned()
                } else {
                    "no request was sent".to_owned()
                },
            };
        }
        if report.verdict.passed {
            return Self {
                tone: Tone::Passed,
                word: "Passed",
                rest: passed(report),
            };
        }
        Self {
            tone: Tone::Missed,
            word: if all_void(report) { "Void" } else { "Missed" },
            rest: missed(report),
        }
    }
}

fn all_void(report: &Report) -> bool {
    !report.runs.is_empty() && report.runs.iter().all(|run| run.void.is_some())
}

fn passed(report: &Report) -> String {
    let held = match (report.objectives.len(), report.runs.len()) {
        (0, _) => "nothing was violated".to_owned(),
        (_, 0 | 1) => "every objective held".to_owned(),
        (_, runs) => format!("every objective held in all {runs} runs"),
    };
    if report.verdict.interrupted {
        format!("{held}, until it was interrupted")
    } else {
        held
    }
}

/// What was missed, by name; the sentences stand below.
fn missed(report: &Report) -> String {
    let mut parts: Vec<String> = report
        .objectives
        .iter()
        .filter(|objective| !objective.held)
        .map(|objective| objective.name.clone())
        .collect();
    let violations: u64 = report
        .runs
        .iter()
        .flat_map(|run| &run.violations)
        .map(|violation| violation.count)
        .sum();
    if violations > 0 {
        let plural = if violations == 1 { "" } else { "s" };
        parts.push(format!("{} violation{plural}", units::count(violations)));
    }
    let void = report.runs.iter().filter(|run| run.void.is_some()).count();
    if void > 0 {
        parts.push(match report.runs.len() {
            1 => "the run says nothing".to_owned(),
            runs => format!("{void} of {runs} runs say nothing"),
        });
    }
    if report.verdict.interrupted {
        parts.push("interrupted".to_owned());
    }
    listed(&parts)
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
