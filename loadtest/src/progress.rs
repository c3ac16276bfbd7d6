//! What is told while a run goes on: on a terminal a line that changes, elsewhere a line now and
//! then. Standard error, because standard output is for the summary.

use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::recorder::Recorder;

/// Without a terminal: a line so often.
const LINE_EVERY_SECONDS: u64 = 10;
const TICK: Duration = Duration::from_secs(1);

/// Tells.
#[derive(Debug, Default)]
pub struct Progress {
    quiet: bool,
}

/// The state after a second.
struct State {
    rate: u64,
    p99_ms: f64,
    errors: u64,
    violations: u64,
}

impl Progress {
    /// Tells nothing when quiet.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Says a line.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Tells until the measured phase ends.
    pub async fn follow(&self, recorder: &Recorder, target_rate: Option<f64>) {
        let phase = recorder.phase();
        let warm_up = phase.begin.saturating_duration_since(Instant::now());
        if !warm_up.is_zero() {
            self.say(&format!("warming up for {:.0} s", warm_up.as_secs_f64()));
        }
        tokio::time::sleep_until(phase.begin.into()).await;
        let seconds = phase.length.as_secs().max(1);
        let bar = self.bar(seconds);
        for second in 1..=seconds {
            let until = phase.begin + (TICK * u32::try_from(second).unwrap_or(u32::MAX));
            tokio::time::sleep_until(until.min(phase.begin + phase.length).into()).await;
            let state = State::after(recorder, second);
            bar.set_position(second);
            bar.set_message(state.line(target_rate));
            if bar.is_hidden() && second % LINE_EVERY_SECONDS == 0 {
                self.say(&format!("{second:>5} s  {}", state.line(target_rate)));
            }
        }
        tokio::time::sleep_until((phase.begin + phase.length).into()).await;
        bar.finish_and_clear();
    }

    fn bar(&self, seconds: u64) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} s  {msg}");
        ProgressBar::new(seconds).with_style(style.expect("a template that does not change"))
    }
}

impl State {
    fn after(recorder: &Recorder, second: u64) -> Self {
        let measured = recorder.measured();
        let index = usize::try_from(second - 1).unwrap_or(usize::MAX);
        let last = measured.timeline.get(index);
        let micros = last.map_or(0, |last| last.percentiles()[1]);
        Self {
            rate: last.map_or(0, |last| last.good),
            p99_ms: Duration::from_micros(micros).as_secs_f64() * 1e3,
            errors: measured.timeline.iter().map(|second| second.errors).sum(),
            violations: measured.violations.values().map(|(count, _)| count).sum(),
        }
    }

    fn line(&self, target_rate: Option<f64>) -> String {
        let target = target_rate.map_or(String::new(), |rate| format!(" of {rate:.0}"));
        format!(
            "{}{target}/s  p99 {:.1} ms  errors {}  violations {}",
            self.rate, self.p99_ms, self.errors, self.violations
        )
    }
}
