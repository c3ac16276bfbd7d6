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
                rest: nothing(report).to_owned(),
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
            word: match names_missed(report).is_empty() {
                _ if all_void(report) => "Void",
                true => "Failed",
                false => "Missed",
            },
            rest: missed(report),
        }
    }
}

fn nothing(report: &Report) -> &'static str {
    match (report.verdict.interrupted, report.search.is_empty()) {
        (true, true) => "it was interrupted before the first request",
        (true, false) => "the search was interrupted before a rate held",
        (false, _) => "no request was sent",
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

/// What was missed, by name, and what else failed; the sentences stand below.
fn missed(report: &Report) -> String {
    let mut parts = vec![listed(&names_missed(report))];
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
    match (void, report.runs.len()) {
        (0, _) => {}
        (_, 1) => parts.push("the run says nothing".to_owned()),
        (1, runs) => parts.push(format!("1 of {runs} runs is void")),
        (void, runs) => parts.push(format!("{void} of {runs} runs are void")),
    }
    if !report.search.is_empty() && report.search.iter().all(|step| !step.held) {
        parts.push("no rate that was tried held".to_owned());
    }
    if report.verdict.interrupted {
        parts.push("interrupted".to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// Objectives that a run missed; without a run there was none to miss.
fn names_missed(report: &Report) -> Vec<&str> {
    let missed = report.objectives.iter().filter(|objective| !objective.held);
    missed.map(|objective| objective.name.as_str()).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[&str]) -> String {
    match parts {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    fn line(report: &Report) -> String {
        let headline = Headline::of(report);
        format!("{}: {}", headline.word, headline.rest)
    }

    #[test]
    fn the_headline_names_what_was_missed_and_what_else_failed() {
        let mut report = examples::failing();
        let expected = "Missed: p50, p95, p99 and errors; 19 violations; 1 of 2 runs is void";
        assert_eq!(line(&report), expected);
        report.objectives.clear();
        assert_eq!(line(&report), "Failed: 19 violations; 1 of 2 runs is void");
        report.runs.remove(0);
        assert_eq!(line(&report), "Void: the run says nothing");
    }

    #[test]
    fn an_interrupted_run_passes_as_far_as_it_went() {
        let mut report = examples::passing();
        report.verdict.interrupted = true;
        assert_eq!(
            line(&report),
            "Passed: every objective held, until it was interrupted"
        );
    }
}
