//! Lines of tables: the same columns for everybody who is asked over HTTP.

use super::Measured;
use crate::figure::Spread;

/// What the columns of [`line()`] are.
pub(crate) fn head() -> String {
    format!(
        "medians over the rounds (lowest to highest); µs are processor time a request: of the \
         process that answers,\nof what works beside it (Redis), of PostgreSQL, of this client; others is in cores\n\n\
         {:<30} {:>27} {:>8} {:>8} {:>8} {:>7} {:>10} {:>7} {:>7}\n",
        "", "requests/s", "p50 ms", "p99 ms", "server", "beside", "PostgreSQL", "client", "others",
    )
}

/// One contender's rounds.
pub(crate) fn line(name: &str, rounds: &[Measured]) -> String {
    let of = |value: fn(&Measured) -> f64| Spread::of(rounds.iter().map(value));
    let rate = of(Measured::rate);
    format!(
        "{name:<30} {:>9.0} ({:>7.0}–{:>7.0}) {:>8.2} {:>8.2} {:>8.1} {:>7.1} {:>10.1} {:>7.1} \
         {:>7.2}\n",
        rate.median,
        rate.lowest,
        rate.highest,
        of(|measured| measured.millis(0.5)).median,
        of(|measured| measured.millis(0.99)).median,
        of(Measured::server_micros).median,
        of(Measured::beside_micros).median,
        of(Measured::postgres_micros).median,
        of(Measured::client_micros).median,
        of(Measured::others).median,
    )
}

/// A measurement, while they go on.
pub(crate) fn progress(round: usize, name: &str, measured: &Measured) -> String {
    format!(
        "round {} {name:<30} {:>8.0} requests/s  p50 {:>6.2} ms  p99 {:>6.2} ms  {:>6.1} µs  \
         others {:>4.2} cores\n",
        round + 1,
        measured.rate(),
        measured.millis(0.5),
        measured.millis(0.99),
        measured.server_micros(),
        measured.others(),
    )
}

/// What the columns of [`latency`] are.
pub(crate) fn latency_head() -> String {
    format!(
        "\nopen loop, at half of the yardstick's best rate (of its own where it has none), medians \
         over the rounds; late is\nwhat this client handed over 1 ms or more after it was due\n\n\
         {:<30} {:>12} {:>8} {:>27} {:>9} {:>8} {:>7} {:>7}\n",
        "", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "late %", "others",
    )
}

/// Measurements at a fixed rate.
pub(crate) fn latency(name: &str, rate: f64, rounds: &[Measured]) -> String {
    let of = |value: fn(&Measured) -> f64| Spread::of(rounds.iter().map(value));
    let p99 = of(|measured| measured.millis(0.99));
    format!(
        "{name:<30} {rate:>12.0} {:>8.2} {:>9.2} ({:>7.2}–{:>7.2}) {:>9.2} {:>8.2} {:>7.2} \
         {:>7.2}\n",
        of(|measured| measured.millis(0.5)).median,
        p99.median,
        p99.lowest,
        p99.highest,
        of(|measured| measured.millis(0.999)).median,
        of(|measured| measured.millis(1.0)).highest,
        of(|measured| measured.late() * 100.0).median,
        of(Measured::others).median,
    )
}
