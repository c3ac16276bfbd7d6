//! The end of a run, on a terminal: what was measured, the limits, and the verdict last, where the
//! prompt comes after it.

mod figures;

use super::availability::{Answered, Reached};
use super::columns::{Columns, Ink, harmless, wrapped};
use super::headline::{Headline, Tone};
use super::spread;
use super::units;
use super::{Example, Report, Run, objectives};
use figures::{errors, on_time, rate, row, visibility};

/// The summary, with ANSI colours when asked for, in lines of about `width` letters. Figures of
/// several runs are medians; counts are sums.
#[must_use]
pub fn summary(report: &Report, colour: bool, width: usize) -> String {
    let page = Page { colour, width };
    let mut parts = vec![page.what(report)];
    if Answered::of(report).attempted > 0 {
        parts.push(page.measured(report));
        parts.push(page.operations(report));
    }
    parts.push(page.search(report));
    parts.push(page.objectives(report));
    parts.push(page.examples("violations", report, |run| &run.violations));
    parts.push(page.examples("failures", report, |run| &run.failures));
    parts.push(page.verdict(report));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

struct Page {
    colour: bool,
    width: usize,
}

impl Page {
    fn ink(&self, ink: Ink, text: &str) -> String {
        ink.on(text, self.colour)
    }

    fn what(&self, report: &Report) -> String {
        let runs = match report.runs.as_slice() {
            [] => "no run".to_owned(),
            [run] => units::seconds(run.seconds),
            [first, ..] => format!(
                "{} runs of {}",
                report.runs.len(),
                units::seconds(first.seconds)
            ),
        };
        let machine = &report.machine;
        let targets = report.targets.join(", ");
        let against = if targets.is_empty() { "" } else { " against " };
        let place = format!(
            "loadtest {} on {} ({} cores), {}",
            report.loadtest_version,
            machine.processor,
            machine.cores,
            report.started_at.format("%Y-%m-%d %H:%M UTC")
        );
        format!(
            "{}{}\n{}",
            self.ink(Ink::Bold, &harmless(&report.scenario)),
            harmless(&format!(", {runs}{against}{targets}")),
            self.dim(&place)
        )
    }

    fn dim(&self, text: &str) -> String {
        let lines = wrapped(&harmless(text), 0, self.width);
        self.ink(Ink::Dim, lines.trim_end()) + "\n"
    }

    fn measured(&self, report: &Report) -> String {
        let answered = Answered::of(report);
        let mut lines = vec![("good answers", rate(report))];
        let failed = match answered.attempted.saturating_sub(answered.good) {
            0 => "no errors".to_owned(),
            failed => format!("{} errors", units::count(failed)),
        };
        let requests = units::count(answered.attempted);
        lines.push(("requests", format!("{requests}, {failed}")));
        let nines: Vec<_> = answered
            .levels()
            .into_iter()
            .map(|(level, reached)| self.level(level, reached))
            .collect();
        let share = units::availability(answered.share());
        lines.push(("availability", format!("{share}   {}", nines.join(", "))));
        lines.extend(visibility(report).map(|text| ("visible after", text)));
        lines.extend(on_time(report).map(|text| ("begun on time", text)));
        let lines = lines
            .iter()
            .map(|(name, text)| format!("  {}{text}\n", self.ink(Ink::Dim, &format!("{name:15}"))));
        lines.collect()
    }

    fn level(&self, level: &str, reached: Reached) -> String {
        let ink = match reached {
            Reached::Yes => Ink::Good,
            Reached::No => Ink::Bad,
            Reached::TooFewToTell => Ink::Dim,
        };
        format!("{level} {}", self.ink(ink, reached.word()))
    }

    fn operations(&self, report: &Report) -> String {
        let mut table = Columns::new(&[
            ("operation", 9),
            ("requests", 6),
            ("errors", 8),
            ("p50", 8),
            ("p95", 4),
            ("p99", 9),
            ("p99.9", 3),
            ("max", 5),
        ]);
        for (name, operations) in spread::operations(report) {
            let latencies = operations.iter().map(|operation| &operation.latency);
            let attempted = operations.iter().map(|operation| operation.attempted).sum();
            table.push(row(
                name,
                attempted,
                errors(&operations),
                latencies,
                Ink::Plain,
            ));
        }
        let answered = Answered::of(report);
        let failed = answered.attempted.saturating_sub(answered.good);
        let latencies = report.runs.iter().map(|run| &run.latency);
        table.push(row("all", answered.attempted, failed, latencies, Ink::Bold));
        let note = "latency in ms, from the intended start";
        let over = match report.runs.len() {
            1 => String::new(),
            runs => format!("; medians of {runs} runs"),
        };
        let note = self.ink(Ink::Dim, &format!("  {note}{over}"));
        format!("{}{note}\n", table.text(self.colour, self.width))
    }

    fn search(&self, report: &Report) -> String {
        if report.search.is_empty() {
            return String::new();
        }
        let mut table = Columns::new(&[("rate", 9), ("good", 4), ("p99", 9), ("", 9)]);
        for step in &report.search {
            let (word, ink) = if step.held {
                ("held".to_owned(), Ink::Good)
            } else {
                (
                    harmless(&format!("MISSED {}", step.missed.join(", "))),
                    Ink::Bad,
                )
            };
            table.push(vec![
                (units::rate(step.rate).to_string(), Ink::Plain),
                (units::rate(step.achieved).to_string(), Ink::Plain),
                (units::duration(step.p99).to_string(), Ink::Plain),
                (word, ink),
            ]);
        }
        table.text(self.colour, self.width)
    }

    fn objectives(&self, report: &Report) -> String {
        let mut table = Columns::new(&[("objective", 9), ("figure", 9), ("", 9)]);
        for objective in &report.objectives {
            let (word, ink) = match objective.held {
                true => ("held", Ink::Good),
                false => ("MISSED", Ink::Bad),
            };
            let Some(worst) = objectives::worst(objective) else {
                continue;
            };
            let figure = objectives::figure(objective, worst).to_string();
            let cells = [(objectives::limit(objective), Ink::Plain), (figure, ink)];
            table.push(cells.into_iter().chain([(word.to_owned(), ink)]).collect());
        }
        let several = report.runs.len() > 1;
        let note = self.ink(Ink::Dim, "  figures are those of the worst run\n");
        match report.runs.len() {
            0 => String::new(),
            _ => table.text(self.colour, self.width) + if several { &note } else { "" },
        }
    }

    fn examples<'a>(
        &self,
        title: &str,
        report: &'a Report,
        of: impl Fn(&'a Run) -> &'a [Example],
    ) -> String {
        let ink = if title == "violations" {
            Ink::Bad
        } else {
            Ink::Bold
        };
        let mut text = String::new();
        for run in &report.runs {
            for example in of(run) {
                let kind = self.ink(ink, &harmless(&example.kind));
                let count = units::count(example.count);
                text += &format!("  {kind} × {count}, seed {}\n", run.seed);
                text += &wrapped(&harmless(&example.example), 4, self.width);
            }
        }
        if text.is_empty() {
            text
        } else {
            format!("  {}\n{text}", self.ink(Ink::Dim, title))
        }
    }

    fn verdict(&self, report: &Report) -> String {
        let reasons: String = report
            .verdict
            .reasons
            .iter()
            .map(|reason| wrapped(&format!("- {}", harmless(reason)), 2, self.width))
            .collect();
        let headline = Headline::of(report);
        let ink = match headline.tone {
            Tone::Passed => Ink::Good,
            Tone::Missed => Ink::Bad,
            Tone::Nothing => Ink::Bold,
        };
        let word = self.ink(ink, &headline.word.to_uppercase());
        match headline.rest.as_str() {
            "" => format!("{reasons}{word}\n"),
            rest => format!("{reasons}{word}: {rest}\n"),
        }
    }
}

#[cfg(test)]
mod tests;
