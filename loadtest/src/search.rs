//! `--find-max`: the highest rate that holds the objectives. It doubles until one does not, halves
//! the gap until it is small, and then lets the best one prove itself in full.

use std::sync::Arc;
use std::time::Duration;

use crate::objectives::{Objectives, reasons};
use crate::progress::Progress;
use crate::report::{Run, SearchStep};
use crate::run::{Load, Plan, World, run};

/// Rates that are tried at most.
const STEPS_MAX: usize = 24;
/// The search ends when the lowest rate that missed is at most so much above the highest that held.
const GAP: f64 = 0.05;
/// What the highest rate is lowered by when it does not hold in full.
const LOWER: f64 = 0.95;
/// How long a rate is tried.
const TRY: Duration = Duration::from_secs(8);
/// Warm-up of a try.
const TRY_WARM_UP: Duration = Duration::from_secs(2);

/// The bounds between which the answer lies.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    /// The highest rate that held.
    held: Option<f64>,
    /// The lowest that did not.
    missed: Option<f64>,
}

impl Bounds {
    /// The next rate to try; none when it is known closely enough.
    fn next(self, first: f64) -> Option<f64> {
        match (self.held, self.missed) {
            (None, None) => Some(first),
            (Some(held), None) => Some(held * 2.0),
            (None, Some(missed)) => (missed > 1.0).then_some(missed / 2.0),
            (Some(held), Some(missed)) => {
                (missed > held * (1.0 + GAP)).then_some(f64::midpoint(held, missed))
            }
        }
    }

    fn tried(&mut self, rate: f64, held: bool) {
        if held {
            self.held = Some(rate);
        } else {
            self.missed = Some(rate);
        }
    }
}

/// Searches from `first` on. The runs are those of the last step: the highest rate that held in
/// full, unless the steps ran out or somebody interrupted.
pub async fn find_max(
    world: &Arc<World>,
    plan: Plan,
    first: f64,
    seeds: &[u64],
    objectives: &Objectives,
    progress: &Progress,
) -> (Vec<SearchStep>, Vec<Run>) {
    let Load::Open { spacing, .. } = plan.load else {
        return (Vec::new(), Vec::new());
    };
    let at = |rate| Load::Open { rate, spacing };
    let (mut steps, mut bounds) = (
        Vec::new(),
        Bounds {
            held: None,
            missed: None,
        },
    );
    while let Some(rate) = bounds.next(first) {
        if steps.len() >= STEPS_MAX || world.interrupt.is_cancelled() {
            break;
        }
        let attempt = Plan {
            load: at(rate),
            warm_up: TRY_WARM_UP,
            measured: TRY,
            ..plan
        };
        let tried = run(world, attempt, progress).await;
        if world.interrupt.is_cancelled() {
            return (steps, vec![tried]);
        }
        let step = step(rate, &[tried], objectives, false);
        tell(progress, &step);
        bounds.tried(rate, step.held);
        steps.push(step);
    }
    let mut rate = bounds.held.or(bounds.missed).unwrap_or(first);
    loop {
        let mut runs = Vec::new();
        for seed in seeds {
            let (load, seed) = (at(rate), *seed);
            runs.push(run(world, Plan { load, seed, ..plan }, progress).await);
            if world.interrupt.is_cancelled() {
                return (steps, runs);
            }
        }
        let step = step(rate, &runs, objectives, true);
        tell(progress, &step);
        let held = step.held;
        steps.push(step);
        if held || steps.len() >= STEPS_MAX {
            return (steps, runs);
        }
        rate *= LOWER;
    }
}

fn step(rate: f64, runs: &[Run], objectives: &Objectives, proof: bool) -> SearchStep {
    let missed = reasons(&objectives.judge(runs), runs);
    let worst = runs.iter().map(|run| run.latency.p99).fold(0.0, f64::max);
    let lowest = runs.iter().map(|run| run.achieved_rate);
    SearchStep {
        rate,
        held: missed.is_empty(),
        proof,
        p99: worst,
        achieved: lowest.fold(f64::INFINITY, f64::min),
        missed,
    }
}

fn tell(progress: &Progress, step: &SearchStep) {
    let outcome = match step.missed.first() {
        None => "held".to_owned(),
        Some(missed) => missed.clone(),
    };
    progress.say(&format!(
        "{:>8.0}/s  p99 {:>8.2} ms  {outcome}",
        step.rate, step.p99
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64, first: f64) -> (Option<f64>, usize) {
        let (mut bounds, mut steps) = (
            Bounds {
                held: None,
                missed: None,
            },
            0,
        );
        while let Some(rate) = bounds.next(first) {
            bounds.tried(rate, rate <= limit);
            steps += 1;
        }
        (bounds.held, steps)
    }

    #[test]
    fn the_search_comes_close_from_below_and_from_above() {
        for first in [100.0, 1000.0, 50_000.0] {
            let (held, steps) = found(7_300.0, first);
            let held = held.unwrap();
            assert!(
                held <= 7_300.0 && held * (1.0 + GAP) >= 7_300.0,
                "{held} from {first}"
            );
            assert!(steps <= STEPS_MAX, "{steps}");
        }
    }

    #[test]
    fn a_server_that_holds_nothing_ends_the_search() {
        assert_eq!(found(0.1, 100.0).0, None);
    }
}
