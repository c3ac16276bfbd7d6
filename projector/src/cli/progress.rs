//! How a long run shows how far it is: a bar on a terminal, a line a second elsewhere, JSON lines
//! for programs.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::output::{Output, say};
use crate::rebuild::{Progress, RebuildError, Report};

/// How often a bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// How often a line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

const BAR: &str = "{msg:9} {bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left";

/// Runs to the end and shows the progress meanwhile.
pub(super) async fn shown(
    progress: &Progress,
    output: Output,
    run: impl Future<Output = Result<Report, RebuildError>>,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let bar = (output == Output::Table && std::io::stderr().is_terminal())
        .then(|| ProgressBar::new(0))
        .map(|bar| anyhow::Ok(bar.with_style(ProgressStyle::with_template(BAR)?)))
        .transpose()?;
    let interval = if bar.is_some() {
        BAR_INTERVAL
    } else {
        LINE_INTERVAL
    };
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    let mut run = std::pin::pin!(run);
    let report = loop {
        tokio::select! {
            report = &mut run => break report,
            _ = ticks.tick() => match &bar {
                Some(bar) => move_bar(bar, progress),
                None => write_line(progress, output, begun.elapsed())?,
            },
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(report?)
}

fn phase(progress: &Progress) -> &'static str {
    if progress.is_held_up() {
        "waiting"
    } else {
        progress.phase().as_str()
    }
}

fn move_bar(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.total());
    bar.set_position(progress.done());
    bar.set_message(phase(progress));
}

/// Positions are dense, so what is left is exact; only the rate is a guess.
fn write_line(progress: &Progress, output: Output, elapsed: Duration) -> anyhow::Result<()> {
    let (done, total, phase) = (progress.done(), progress.total(), phase(progress));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let left = (total - done) as f64 / rate.max(1.0);
    if output == Output::Json {
        let line = json!({
            "phase": phase,
            "events": done,
            "of": total,
            "events_per_second": rate.round(),
            "eta_seconds": left.round(),
        });
        return say(line);
    }
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(
        anstream::stderr(),
        "{phase}: {done} of {total} events, {rate:.0} events/s, {left:.0} s left"
    );
    Ok(())
}
