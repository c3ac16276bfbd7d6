//! Figures over all runs as text: each is a line or a row of the summary.

use super::super::columns::{Cell, Ink, harmless};
use super::super::spread::{self, Spread};
use super::super::units::{self, Quantity};
use super::super::{Latency, Operation, Report};

pub(super) fn rate(report: &Report) -> String {
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
pub(super) fn visibility(report: &Report) -> Option<String> {
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
pub(super) fn on_time(report: &Report) -> Option<String> {
    let least = spread::over(report, |run| run.on_time)?.min;
    (least < 0.99).then(|| format!("{} (below 95 % a run is void)", units::percent(least)))
}

pub(super) fn errors(operations: &[&Operation]) -> u64 {
    operations.iter().map(|operation| operation.errors).sum()
}

pub(super) fn row<'a>(
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
