//! What clients measured: the latency curve, the run second by second, how soon writes were seen,
//! and each kind of operation.

use super::super::units;
use super::super::{Latency, Operation, Report, Run};
use super::escape::Text;
use super::{by_run, chart, section};

pub(super) fn latency(report: &Report) -> String {
    let words: Vec<_> = report
        .runs
        .iter()
        .map(|run| format!("Seed {}: {}.", run.seed, percentiles(&run.latency)))
        .collect();
    section(
        "latency",
        "Latency",
        "From the moment a request was meant to start to the last byte of its answer; of \
         errors only those that were waited for in vain. To the right are the rarest and \
         slowest; ticks mark the limits.",
        &chart(
            "chart-latency",
            "Latency by percentile, one curve a run",
            &words.join(" "),
        ),
    )
}

fn percentiles(latency: &Latency) -> String {
    let named = [
        ("p50", latency.p50),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("max", latency.max),
    ];
    named
        .map(|(name, value)| format!("{name} {}", units::duration(value)))
        .join(", ")
}

/// Which run the parts below show.
pub(super) fn picker(report: &Report) -> String {
    if report.runs.len() < 2 {
        return String::new();
    }
    let choices: String = report
        .runs
        .iter()
        .enumerate()
        .map(|(index, run)| {
            let checked = if index == 0 { " checked" } else { "" };
            let void = if run.void.is_some() { " (void)" } else { "" };
            format!(
                "<label><input type=\"radio\" name=\"run\" value=\"{index}\"{checked}>\
                 <span>Seed {}{void}</span></label>",
                run.seed
            )
        })
        .collect();
    format!(
        "<fieldset class=\"picker\" id=\"picker\" hidden><legend>Below, second by second, by \
         operation and by server:</legend>{choices}</fieldset>\n"
    )
}

pub(super) fn timeline() -> String {
    let words = "Good answers, errors, and the latency of answers in each second.";
    section(
        "timeline",
        "Second by second",
        "Good answers in each second and the errors that were due in it, and how long the answers \
         took that came in it.",
        &chart(
            "chart-timeline",
            "Answers, errors and latency through time",
            words,
        ),
    )
}

pub(super) fn visibility(report: &Report) -> String {
    let followed = |run: &Run| run.visibility.lag.count + run.visibility.not_seen;
    let note = "From the answer to a write until a read without a token shows it.";
    if report.runs.iter().map(followed).sum::<u64>() == 0 {
        let none = "<p class=\"none\">No write was followed.</p>\n";
        return section("visibility", "Visibility lag", note, none);
    }
    let rows: String = report
        .runs
        .iter()
        .map(|run| {
            let lag = &run.visibility.lag;
            let missing = if run.visibility.not_seen > 0 {
                "bad"
            } else {
                ""
            };
            let times: String = [lag.p50, lag.p95, lag.p99, lag.max]
                .map(|value| format!("<td>{}</td>", units::duration(value)))
                .concat();
            format!(
                "<tr><th scope=\"row\">{}</th>{times}<td>{}</td><td class=\"{missing}\">{}</td>\
                 </tr>",
                run.seed,
                units::count(followed(run)),
                units::count(run.visibility.not_seen)
            )
        })
        .collect();
    let table = format!(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">seed</th>\
         <th scope=\"col\">p50</th><th scope=\"col\">p95</th><th scope=\"col\">p99</th>\
         <th scope=\"col\">max</th><th scope=\"col\">followed</th>\
         <th scope=\"col\">not seen</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
    );
    let drawn = chart(
        "chart-lag",
        "Visibility lag by percentile, one curve a run",
        "The table below has the same in figures.",
    );
    section("visibility", "Visibility lag", note, &(drawn + &table))
}

pub(super) fn operations(report: &Report) -> String {
    section(
        "operations",
        "Operations",
        "Each kind that the scenario has; times in milliseconds. A click on a heading sorts.",
        &by_run(report, table),
    )
}

const HEADINGS: [&str; 9] = [
    "operation",
    "requests",
    "errors",
    "p50",
    "p95",
    "p99",
    "p99.9",
    "max",
    "answers",
];

fn table(run: &Run) -> String {
    let headings: String = HEADINGS
        .map(|name| format!("<th scope=\"col\"><button type=\"button\">{name}</button></th>"))
        .concat();
    let rows: String = run.operations.iter().map(row).collect();
    let all = Operation {
        name: "all".to_owned(),
        attempted: run.attempted,
        errors: run.errors,
        statuses: std::collections::BTreeMap::new(),
        latency: Latency {
            curve: vec![],
            ..run.latency.clone()
        },
    };
    format!(
        "<div class=\"scroll\"><table class=\"sortable operations\"><thead><tr>{headings}</tr>\
         </thead><tbody>{rows}</tbody><tfoot>{}</tfoot></table></div>\n",
        row(&all)
    )
}

fn row(operation: &Operation) -> String {
    let latency = &operation.latency;
    let times: String = [
        latency.p50,
        latency.p95,
        latency.p99,
        latency.p999,
        latency.max,
    ]
    .map(|value| format!("<td data-value=\"{value}\">{}</td>", units::digits(value)))
    .concat();
    let name = Text(&operation.name);
    let bad = if operation.errors > 0 {
        " class=\"bad\""
    } else {
        ""
    };
    format!(
        "<tr><th scope=\"row\" data-value=\"{name}\">{name}</th>\
         <td data-value=\"{0}\">{1}</td><td data-value=\"{2}\"{bad}>{3}</td>{times}\
         <td class=\"answers\">{4}</td></tr>\n",
        operation.attempted,
        units::count(operation.attempted),
        operation.errors,
        units::count(operation.errors),
        statuses(operation)
    )
}

/// A status of the server's own failure, or what came instead of an answer, stands out.
fn statuses(operation: &Operation) -> String {
    operation
        .statuses
        .iter()
        .map(|(status, count)| {
            let good = status.len() == 3 && status.starts_with(['2', '3', '4']);
            format!(
                "<span class=\"status{}\"><b>{}</b> {}</span> ",
                if good { "" } else { " bad" },
                Text(status),
                units::count(*count)
            )
        })
        .collect()
}
