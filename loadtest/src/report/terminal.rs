//! The end of a run, on a terminal: what was measured, the limits, and the verdict last, where the
//! prompt comes after it.

use super::availability::{Answered, Reached};
use super::columns::{Cell, Columns, Ink, harmless, wrapped};
use super::headline::{Headline, Tone};
use super::spread::{self, Spread};
use super::units::{self, Quantity};
use super::{Example, Latency, Operation, Report, Run, objectives};

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

fn rate(report: &Report) -> String {
    let achieved = spread::over(report, |run| run.achieved_rate);
    let target = report.runs.iter().find_map(|run| run.target_rate);
    let median = achieved.map_or(f64::NAN, |spread| spread.median);
    let of = target.map_or(String::new(), |target| {
        format!(" of {}", units::rate(target))
    });
    format!(
        "{}{of}{}",
        units::rate(median),
        range(achieved, units::rate).unwrap_or_default()
    )
}

fn range(spread: Option<Spread>, show: fn(f64) -> Quantity) -> Option<String> {
    let spread = spread.filter(|spread| spread.runs > 1)?;
    Some(format!(" ({} to {})", show(spread.min), show(spread.max)))
}

/// None when no write was followed.
fn visibility(report: &Report) -> Option<String> {
    let runs = || report.runs.iter().map(|run| &run.visibility);
    let not_seen: u64 = runs().map(|visibility| visibility.not_seen).sum();
    let seen: u64 = runs().map(|visibility| visibility.lag.count).sum();
    let median = |of: fn(&Latency) -> f64| {
        let counted = runs().filter(|visibility| visibility.lag.count > 0);
        let median = Spread::of(counted.map(|visibility| of(&visibility.lag)))?.median;
        Some(units::duration(median).to_string())
    };
    let followed = units::count(seen + not_seen);
    let end = format!("{} of {followed} not seen", units::count(not_seen));
    if seen + not_seen == 0 {
        return None;
    }
    let Some(((p50, p95), p99)) = median(|lag| lag.p50)
        .zip(median(|lag| lag.p95))
        .zip(median(|lag| lag.p99))
    else {
        return Some(end);
    };
    Some(format!("p50 {p50}, p95 {p95}, p99 {p99}; {end}"))
}

/// Said only when it is not nearly all.
fn on_time(report: &Report) -> Option<String> {
    let least = spread::over(report, |run| run.on_time)?.min;
    (least < 0.99).then(|| format!("{} (below 95 % a run is void)", units::percent(least)))
}

fn errors(operations: &[&Operation]) -> u64 {
    operations.iter().map(|operation| operation.errors).sum()
}

fn row<'a>(
    name: &str,
    attempted: u64,
    errors: u64,
    latencies: impl Iterator<Item = &'a Latency> + Clone,
    ink: Ink,
) -> Vec<Cell> {
    let of: [fn(&Latency) -> f64; 5] = [
        |latency| latency.p50,
        |latency| latency.p95,
        |latency| latency.p99,
        |latency| latency.p999,
        |latency| latency.max,
    ];
    let bad = if errors > 0 { Ink::Bad } else { ink };
    let mut row = vec![
        (harmless(name), ink),
        (units::count(attempted), ink),
        (units::count(errors), bad),
    ];
    row.extend(of.map(|of| {
        let median = Spread::of(latencies.clone().map(of)).map_or(f64::NAN, |spread| spread.median);
        (units::digits(median), ink)
    }));
    row
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    #[test]
    fn a_run_that_passed_ends_in_its_verdict() {
        insta::assert_snapshot!(summary(&examples::seeds(1.0), false, 80));
    }

    #[test]
    fn a_run_that_failed_names_what_failed_with_an_example_of_each() {
        let text = summary(&examples::failing(), false, 80);
        assert!(
            text.lines()
                .last()
                .unwrap_or_default()
                .starts_with("MISSED: ")
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_search_tells_each_rate_that_it_tried() {
        insta::assert_snapshot!(summary(&examples::search(), false, 60));
    }

    #[test]
    fn a_run_that_ended_at_once_says_so() {
        insta::assert_snapshot!(summary(&examples::empty(), false, 80));
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let report = examples::failing();
        let plain = summary(&report, false, 80);
        let mut coloured = summary(&report, true, 80);
        assert_ne!(coloured, plain);
        for code in ["1;31", "1", "2", "32", "0"] {
            coloured = coloured.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(coloured, plain);
    }
}
