//! What stands behind the figures: the rates that were tried, the runs side by side, and all that
//! is needed to repeat it.

use super::super::spread::{self, Spread};
use super::super::units::{self, Quantity};
use super::super::{Report, Run, SearchStep};
use super::chart;
use super::escape::Text;

/// The rates that were tried; nothing without a search.
pub(super) fn search(report: &Report) -> String {
    if report.search.is_empty() {
        return String::new();
    }
    let rows: String = report.search.iter().map(step).collect();
    let table = format!(
        "<div class=\"scroll\"><table class=\"search\"><thead><tr><th scope=\"col\">rate</th>\
         <th scope=\"col\">good answers</th><th scope=\"col\">p99</th><th scope=\"col\">held</th>\
         <th scope=\"col\">missed</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
    );
    let drawn = chart(
        "chart-search",
        "p99 at each rate that was tried",
        "The table below has the same in figures.",
    );
    let note = "The rates that were tried, in order; the last ones in full, with every seed. All \
                other figures are those of the last.";
    super::section("search", "Search", note, &(drawn + &table))
}

fn step(step: &SearchStep) -> String {
    let held = match (step.held, step.proof) {
        (true, true) => "<b class=\"ok\">held in full</b>",
        (true, false) => "<b class=\"ok\">held</b>",
        (false, _) => "<b class=\"no\">MISSED</b>",
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{held}</td>\
         <td class=\"words\">{}</td></tr>\n",
        units::rate(step.rate),
        units::rate(step.achieved),
        units::duration(step.p99),
        Text(&step.missed.join(", "))
    )
}

/// A row of the table of runs: its name, and how to read it off a run.
type Measure = (&'static str, fn(&Run) -> f64, fn(f64) -> Quantity);

const MEASURES: [Measure; 10] = [
    ("good answers", |run| run.achieved_rate, units::rate),
    ("p50", |run| run.latency.p50, units::duration),
    ("p95", |run| run.latency.p95, units::duration),
    ("p99", |run| run.latency.p99, units::duration),
    ("p99.9", |run| run.latency.p999, units::duration),
    ("max", |run| run.latency.max, units::duration),
    ("availability", |run| run.availability, units::availability),
    (
        "seen after, p99",
        |run| run.visibility.lag.p99,
        units::duration,
    ),
    ("begun on time", |run| run.on_time, units::percent),
    (
        "waited for a connection",
        |run| run.waited_for_connection,
        units::percent,
    ),
];

/// The runs side by side.
pub(super) fn runs(report: &Report) -> String {
    if report.runs.is_empty() {
        return String::new();
    }
    let seeds: String = report
        .runs
        .iter()
        .map(|run| format!("<th scope=\"col\">seed {}</th>", run.seed))
        .collect();
    let median = if report.runs.len() > 1 {
        "<th scope=\"col\">median</th>"
    } else {
        ""
    };
    let rows: String = MEASURES
        .iter()
        .map(|measure| row(report, measure))
        .collect();
    let void: String = report
        .runs
        .iter()
        .filter_map(|run| run.void.as_ref().map(|why| (run.seed, why)))
        .map(|(seed, why)| format!("<p class=\"bad\">Seed {seed} is void: {}</p>\n", Text(why)))
        .collect();
    super::section(
        "runs",
        if report.runs.len() > 1 {
            "Runs"
        } else {
            "The run"
        },
        "Every seed has other arrivals, choices and keys; how far the runs lie apart is the noise.",
        &format!(
            "<div class=\"scroll\"><table class=\"runs\"><thead><tr><th></th>{seeds}{median}\
             </tr></thead><tbody>{rows}</tbody></table></div>\n{void}"
        ),
    )
}

fn row(report: &Report, (name, of, show): &Measure) -> String {
    let cells: String = report
        .runs
        .iter()
        .map(|run| format!("<td>{}</td>", show(of(run))))
        .collect();
    let median = match spread::over(report, of) {
        Some(Spread { median, runs, .. }) if runs > 1 => {
            format!("<td><b>{}</b></td>", show(median))
        }
        _ => String::new(),
    };
    format!("<tr><th scope=\"row\">{name}</th>{cells}{median}</tr>\n")
}

/// Settings and the scenario's text, folded.
pub(super) fn settings(report: &Report) -> String {
    let settings: String = report
        .settings
        .iter()
        .map(|setting| {
            format!(
                "<tr><th scope=\"row\">{}</th><td><code>{}</code></td></tr>\n",
                Text(&setting.name),
                Text(&setting.value)
            )
        })
        .collect();
    let content = format!(
        "<p class=\"command\"><code>{}</code></p>\n\
         <details><summary>All settings</summary><table class=\"settings\"><tbody>{settings}\
         </tbody></table></details>\n\
         <details><summary>The scenario’s text</summary><pre>{}</pre></details>\n",
        Text(&report.command_line.join(" ")),
        Text(&report.scenario_text)
    );
    super::section(
        "settings",
        "To repeat it",
        "What was typed and what it meant.",
        &content,
    )
}
