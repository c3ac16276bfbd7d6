//! The first lines: the verdict in words, what was run, against what and from where.

use super::super::headline::{Headline, Tone};
use super::super::units;
use super::super::{Report, Run};
use super::escape::Text;

/// Verdict, what was run, and where.
pub(super) fn header(report: &Report) -> String {
    let headline = Headline::of(report);
    let class = tone(headline.tone);
    let reasons: String = report
        .verdict
        .reasons
        .iter()
        .map(|reason| format!("<li>{}</li>", Text(reason)))
        .collect();
    let reasons = match reasons.as_str() {
        "" => String::new(),
        items => format!("<ul class=\"reasons\">{items}</ul>\n"),
    };
    let best = highest_held(report);
    format!(
        "<header class=\"top {class}\">\n<div class=\"bar\"><span>loadtest {} · {}</span>\
         <button type=\"button\" id=\"theme\" hidden>Theme</button></div>\n\
         <h1><span class=\"mark\" aria-hidden=\"true\"></span><span><strong>{}{}</strong> \
         <span class=\"rest\">{}</span></span></h1>\n{best}{reasons}{}</header>\n",
        Text(&report.loadtest_version),
        report.started_at.format("%-d %B %Y, %H:%M UTC"),
        headline.word,
        if headline.rest.is_empty() { "" } else { ":" },
        Text(&headline.rest),
        facts(report),
    )
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Passed => "passed",
        Tone::Missed => "missed",
        Tone::Nothing => "nothing",
    }
}

fn highest_held(report: &Report) -> String {
    if report.search.is_empty() {
        return String::new();
    }
    // A short try is no proof.
    let held = report.search.iter().filter(|step| step.held && step.proof);
    match held.map(|step| step.rate).max_by(f64::total_cmp) {
        Some(rate) => format!(
            "<p class=\"lead\"><b>{}</b> is the highest rate that held in full, of {} tried.</p>\n",
            units::rate(rate),
            report.search.len()
        ),
        None => "<p class=\"lead\">No rate that was tried held in full.</p>\n".to_owned(),
    }
}

fn facts(report: &Report) -> String {
    let machine = &report.machine;
    let targets: Vec<_> = report
        .targets
        .iter()
        .map(|target| format!("<code>{}</code>", Text(target)))
        .collect();
    let mut facts = vec![("Scenario", format!("<b>{}</b>", Text(&report.scenario)))];
    if !targets.is_empty() {
        facts.push(("Against", targets.join("<br>")));
    }
    facts.push(("Measured", measured(&report.runs)));
    facts.push((
        "Load from",
        format!(
            "{}, {} core{}, {}<br>{}",
            Text(&machine.processor),
            machine.cores,
            if machine.cores == 1 { "" } else { "s" },
            units::bytes(machine.memory_bytes as f64),
            Text(&machine.system)
        ),
    ));
    let items: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl class=\"facts\">{items}</dl>\n")
}

fn measured(runs: &[Run]) -> String {
    let requests: u64 = runs.iter().map(|run| run.attempted).sum();
    let requests = units::count(requests);
    match runs {
        [] => "nothing".to_owned(),
        [run] => format!("{requests} requests<br>in {}", units::seconds(run.seconds)),
        [first, ..] => format!(
            "{requests} requests<br>{} runs of {}",
            runs.len(),
            units::seconds(first.seconds)
        ),
    }
}
