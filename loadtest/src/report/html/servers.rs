//! What the servers said about themselves, beside what clients saw.

use std::fmt::Write as _;

use super::super::units;
use super::super::{Report, Run, Series, Server};
use super::by_run;
use super::escape::Text;

pub(super) fn section(report: &Report) -> String {
    if report.runs.iter().all(|run| run.servers.is_empty()) {
        return String::new();
    }
    super::section(
        "servers",
        "Servers",
        "From the <code>/metrics</code> of each, over the measured phase.",
        &by_run(report, of_run),
    )
}

fn of_run(run: &Run) -> String {
    let servers: String = run.servers.iter().map(server).collect();
    format!("<div class=\"servers\">{servers}</div>\n")
}

fn server(server: &Server) -> String {
    let figures: String = server
        .figures
        .iter()
        .map(|figure| {
            format!(
                "<div><dt>{}</dt><dd>{}</dd></div>",
                Text(&figure.name),
                Text(&units::figure(figure.value, &figure.unit))
            )
        })
        .collect();
    let error = match &server.error {
        Some(error) => format!("<p class=\"bad\">It told nothing: {}</p>", Text(error)),
        None => String::new(),
    };
    let series: String = server.series.iter().filter_map(spark).collect();
    format!(
        "<article><h3>{}</h3><p class=\"url\">{}</p>{error}<dl>{figures}</dl>{series}\
         </article>\n",
        Text(&server.service),
        Text(&server.url)
    )
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 36.0;
/// More points than this cannot be told apart in so small a picture.
const POINTS_MAX: usize = 300;

/// A small line with its smallest and largest value; none without points.
fn spark(series: &Series) -> Option<String> {
    let points: Vec<_> = series
        .points
        .iter()
        .filter(|(at, value)| at.is_finite() && value.is_finite())
        .collect();
    let values = || points.iter().map(|(_, value)| *value);
    let (min, max) = (
        values().min_by(f64::total_cmp)?,
        values().max_by(f64::total_cmp)?,
    );
    let (first, last) = (points.first()?.0, points.last()?.0);
    // The line begins at nothing, so that a flat one looks flat.
    let low = min.min(0.0);
    let step = points.len().div_ceil(POINTS_MAX);
    let mut line = String::new();
    for group in points.chunks(step) {
        // The largest of the group: a peak must not vanish.
        let (at, value) = group.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let x = share(*at, first, last) * WIDTH;
        let y = HEIGHT - 2.0 - share(*value, low, max) * (HEIGHT - 4.0);
        write!(line, "{x:.1},{y:.1} ").ok()?;
    }
    let show = |value| units::figure(value, &series.unit);
    let name = Text(&series.name);
    Some(format!(
        "<figure class=\"spark\"><figcaption>{name} <span>{} to {}</span></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{name} through time\"><polygon points=\"0,{HEIGHT} {line}{WIDTH},{HEIGHT}\"/>\
         <polyline points=\"{line}\"/></svg></figure>",
        Text(&show(min)),
        Text(&show(max))
    ))
}

fn share(value: f64, low: f64, high: f64) -> f64 {
    if high > low {
        (value - low) / (high - low)
    } else {
        0.0
    }
}
