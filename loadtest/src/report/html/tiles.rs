//! The figures that the verdict rests on, each beside its limit.

use super::super::availability::{Answered, Reached};
use super::super::objectives;
use super::super::spread::{self, Spread};
use super::super::units::{self, Quantity};
use super::super::{Latency, Objective, Report};

/// All of them, in the order of a reader's questions: how much, how fast, how well.
pub(super) fn tiles(report: &Report) -> String {
    let tiles = [
        rate(report),
        latency(report, "p50", |latency| latency.p50),
        latency(report, "p95", |latency| latency.p95),
        latency(report, "p99", |latency| latency.p99),
        errors(report),
        availability(report),
    ];
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.concat())
}

struct Tile<'a> {
    name: &'a str,
    value: Option<Quantity>,
    /// How much of the limit is used, or of what was due answered.
    filled: Option<f64>,
    held: Option<bool>,
    notes: Vec<String>,
}

impl Tile<'_> {
    fn html(&self) -> String {
        let (class, verdict) = match self.held {
            None => ("", ""),
            Some(true) => (" held", "<b class=\"ok\">held</b>, "),
            Some(false) => (" missed", "<b class=\"no\">MISSED</b>, "),
        };
        let none = Quantity {
            number: units::NONE.to_owned(),
            unit: "",
        };
        let value = self.value.as_ref().unwrap_or(&none);
        let filled = self.filled.unwrap_or(0.0).clamp(0.0, 1.0) * 100.0;
        let meter = match self.filled {
            Some(_) => format!("<i style=\"width:{filled:.1}%\"></i>"),
            None => String::new(),
        };
        format!(
            "<div class=\"tile{class}\"><dt>{}</dt><dd class=\"value\">{}<small>{}</small></dd>\
             <dd class=\"meter\" aria-hidden=\"true\">{meter}</dd>\
             <dd class=\"note\">{verdict}{}</dd></div>\n",
            self.name,
            value.number,
            value.unit,
            self.notes.join("<br>")
        )
    }
}

fn objective<'a>(report: &'a Report, name: &str) -> Option<&'a Objective> {
    report
        .objectives
        .iter()
        .find(|objective| objective.name == name)
}

/// A run that never began neither held nor missed a limit.
fn held(report: &Report, objective: Option<&Objective>) -> Option<bool> {
    objective
        .filter(|_| !report.runs.is_empty())
        .map(|objective| objective.held)
}

fn range(spread: Option<Spread>, text: impl Fn(f64) -> Quantity) -> Option<String> {
    let spread = spread.filter(|spread| spread.runs > 1)?;
    let (min, max) = (text(spread.min), text(spread.max));
    let min = if min.unit == max.unit {
        min.number
    } else {
        min.to_string()
    };
    Some(format!("{min}–{max} in {} runs", spread.runs))
}

fn rate(report: &Report) -> String {
    let achieved = spread::over(report, |run| run.achieved_rate);
    let target = report.runs.iter().find_map(|run| run.target_rate);
    let objective = objective(report, "rate");
    let median = achieved.map(|spread| spread.median);
    let mut notes = vec![match target {
        Some(target) => format!("of {} to be sent", units::rate(target)),
        None => "as fast as it is answered".to_owned(),
    }];
    notes.extend(range(achieved, units::rate));
    Tile {
        name: "Good answers",
        value: median.map(units::rate),
        filled: target.zip(median).map(|(target, rate)| rate / target),
        held: held(report, objective),
        notes: if median.is_some() { notes } else { vec![] },
    }
    .html()
}

fn latency(report: &Report, name: &str, percentile: impl Fn(&Latency) -> f64) -> String {
    let measured = report.runs.iter().filter(|run| run.latency.count > 0);
    let spread = Spread::of(measured.map(|run| percentile(&run.latency)));
    let objective = objective(report, name);
    let median = spread.map(|spread| spread.median);
    let mut notes = vec![match objective {
        Some(objective) => format!("limit {}", objectives::limit_value(objective)),
        None => "no limit".to_owned(),
    }];
    notes.extend(range(spread, units::duration));
    Tile {
        name,
        value: median.map(units::duration),
        filled: objective
            .zip(median)
            .map(|(objective, median)| median / objective.limit),
        held: held(report, objective),
        notes,
    }
    .html()
}

fn errors(report: &Report) -> String {
    let objective = objective(report, "errors");
    let answered = Answered::of(report);
    let share = 1.0 - answered.share();
    let number = answered.attempted - answered.good.min(answered.attempted);
    let mut notes = vec![match objective {
        Some(objective) => format!("limit {}", objectives::limit_value(objective)),
        None => "no limit".to_owned(),
    }];
    if answered.attempted > 0 {
        notes.push(format!(
            "{} of {}",
            units::count(number),
            units::count(answered.attempted)
        ));
    }
    Tile {
        name: "Errors",
        value: (answered.attempted > 0).then(|| units::percent(share)),
        filled: objective
            .filter(|_| answered.attempted > 0)
            .map(|objective| share / objective.limit),
        held: held(report, objective),
        notes,
    }
    .html()
}

fn availability(report: &Report) -> String {
    let answered = Answered::of(report);
    let levels: String = answered
        .levels()
        .into_iter()
        .map(|(level, reached)| {
            let class = match reached {
                Reached::Yes => "yes",
                Reached::No => "no",
                Reached::TooFewToTell => "open",
            };
            let word = match reached {
                Reached::TooFewToTell => "too few to tell",
                other => other.word(),
            };
            format!("<li class=\"{class}\"><b>{level}</b> {word}</li>")
        })
        .collect();
    let tile = Tile {
        name: "Availability",
        value: (answered.attempted > 0).then(|| units::availability(answered.share())),
        filled: None,
        held: None,
        notes: vec![format!("<ul class=\"nines\">{levels}</ul>")],
    };
    tile.html().replace("class=\"tile\"", "class=\"tile wide\"")
}
