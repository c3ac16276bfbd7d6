//! The report as one file: words and tables are made here and can be read without a script; the
//! page's own script draws the charts from the figures that are embedded in it. It loads nothing
//! from anywhere, and what servers said is text, never markup.

mod background;
mod charts;
mod escape;
mod faults;
mod measures;
mod servers;
mod summary;
mod tiles;

use uuid::Uuid;

use super::Report;
use escape::Text;

const STYLE: &str = concat!(include_str!("page.css"), include_str!("tables.css"));
const SCRIPT: &str = concat!(
    include_str!("plot.js"),
    include_str!("charts.js"),
    include_str!("page.js")
);

/// The whole page.
#[must_use]
pub fn render(report: &Report) -> String {
    // Only the script that knows the number runs, whatever else got into the page.
    let nonce = Uuid::new_v4().simple();
    let scenario = Text(&report.scenario);
    let body = body(report);
    let data = charts::json(report);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; img-src data:\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{scenario} – loadtest</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"figures\">{data}</script>\n\
         <script type=\"module\" nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn body(report: &Report) -> String {
    let mut page = summary::header(report);
    page += "<main>\n";
    page += &tiles::tiles(report);
    page += "<noscript><p class=\"hint\">The charts need JavaScript; everything else is here.</p>\
             </noscript>\n";
    if report.runs.iter().any(|run| run.attempted > 0) {
        page += &measures::latency(report);
        page += &measures::picker(report);
        page += &measures::timeline();
        page += &measures::visibility(report);
        page += &measures::operations(report);
    }
    if !report.runs.is_empty() {
        page += &faults::section(report);
        page += &servers::section(report);
    }
    page += &background::search(report);
    page += &background::runs(report);
    page += &background::settings(report);
    page + "</main>\n"
}

/// A part of the page: its title and a note beside it, and what it shows.
fn section(id: &str, title: &str, note: &str, content: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<header><h2 id=\"{id}-title\">\
         {title}</h2>\n<p>{note}</p></header>\n<div class=\"content\">\n{content}</div>\n\
         </section>\n"
    )
}

/// What the script fills: a chart with its name and what it shows in words.
fn chart(id: &str, name: &str, words: &str) -> String {
    format!(
        "<figure class=\"chart\"><div class=\"legend\"></div><svg id=\"{id}\" role=\"img\" \
         tabindex=\"0\" aria-label=\"{name}\" aria-describedby=\"{id}-words\"></svg>\
         <p class=\"caption\"></p><figcaption id=\"{id}-words\">\
         {} Arrow keys move through it.</figcaption>\
         <output class=\"readout\" aria-live=\"polite\"></output></figure>\n",
        Text(words)
    )
}

/// One block a run, of which the script shows the one that was picked.
fn by_run(report: &Report, block: impl Fn(&super::Run) -> String) -> String {
    let several = report.runs.len() > 1;
    let blocks = report.runs.iter().enumerate().map(|(index, run)| {
        let heading = if several {
            format!("<h3 class=\"of\">Seed {}</h3>\n", run.seed)
        } else {
            String::new()
        };
        format!(
            "<div class=\"of-run\" data-run=\"{index}\">{heading}{}</div>\n",
            block(run)
        )
    });
    blocks.collect()
}

#[cfg(test)]
mod tests;
