//! What a correct server never answers, and what went wrong: kind, number and the first of each.

use super::super::units;
use super::super::{Example, Report, Run};
use super::escape::Text;

pub(super) fn section(report: &Report) -> String {
    let violations = table(report, "Violations", |run| &run.violations);
    let failures = table(report, "Failures", |run| &run.failures);
    super::section(
        "faults",
        "Violations and failures",
        "A violation is an answer that a correct server never gives, and fails the run. A failure \
         is a request that was not answered as it should be.",
        &(violations + &failures),
    )
}

fn table<'a>(report: &'a Report, title: &str, of: impl Fn(&'a Run) -> &'a [Example]) -> String {
    let rows: String = report
        .runs
        .iter()
        .flat_map(|run| of(run).iter().map(move |example| row(run, example)))
        .collect();
    if rows.is_empty() {
        return format!(
            "<p class=\"none\"><b class=\"ok\">No</b> {}.</p>\n",
            title.to_lowercase()
        );
    }
    format!(
        "<div class=\"scroll\"><table class=\"faults {}\"><caption>{title}</caption><thead><tr>\
         <th scope=\"col\">kind</th><th scope=\"col\">seed</th><th scope=\"col\">times</th>\
         <th scope=\"col\">the first</th></tr></thead><tbody>{rows}</tbody></table></div>\n",
        title.to_lowercase()
    )
}

fn row(run: &Run, example: &Example) -> String {
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td><code>{}</code></td></tr>\n",
        Text(&example.kind),
        run.seed,
        units::count(example.count),
        Text(&example.example)
    )
}
