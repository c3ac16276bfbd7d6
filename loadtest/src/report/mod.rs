//! What a run came to, as `report.json` has it: everything that `report.html` shows and that
//! `loadtest compare` reads. Times are milliseconds and shares are between 0 and 1 unless a name
//! says otherwise.

pub mod compare;
pub mod html;
pub mod terminal;

mod availability;
mod columns;
#[cfg(test)]
pub(crate) mod examples;
mod headline;
mod objectives;
mod spread;
mod units;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Raised when a reader of the old form could not read the new one.
pub const FORMAT: u32 = 1;

/// A whole invocation: one run a seed, and what they came to together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// Version of the program that wrote it.
    pub loadtest_version: String,
    /// When the first run began.
    pub started_at: DateTime<Utc>,
    /// What was typed; nothing in it is secret (tokens come from files).
    pub command_line: Vec<String>,
    /// The addresses that were loaded.
    pub targets: Vec<String>,
    /// Where the load came from.
    pub machine: Machine,
    /// What was asked for, defaults included, in the order to show.
    pub settings: Vec<Setting>,
    /// The name of the scenario.
    pub scenario: String,
    /// The scenario's whole text.
    pub scenario_text: String,
    /// The limits that every run has to hold.
    pub objectives: Vec<Objective>,
    /// One a seed.
    pub runs: Vec<Run>,
    /// With `--find-max`: the rates that were tried, in order; the runs are those of the highest
    /// that held.
    pub search: Vec<SearchStep>,
    /// What it came to.
    pub verdict: Verdict,
}

/// The machine that the load came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that the program may use.
    pub cores: usize,
    /// Their name.
    pub processor: String,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Kernel and its version.
    pub system: String,
}

/// A setting with its value as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The flag's name.
    pub name: String,
    /// What it was.
    pub value: String,
}

/// A limit, and whether the runs held it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// `p50`, `p95`, `p99` (milliseconds), `errors` (a share), or `rate` (the share of what
    /// was due that was answered well).
    pub name: String,
    /// The limit: latencies and errors stay below it, the rate reaches it.
    pub limit: f64,
    /// What each run came to.
    pub values: Vec<f64>,
    /// Whether every run held it.
    pub held: bool,
}

/// A rate that `--find-max` tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchStep {
    /// Requests a second.
    pub rate: f64,
    /// Whether it held all objectives.
    pub held: bool,
    /// Whether it ran in full, with all seeds; the others were short tries.
    pub proof: bool,
    /// 99 of 100 requests took at most this.
    pub p99: f64,
    /// Requests a second that were answered well.
    pub achieved: f64,
    /// The objectives that were missed, and why the run was void, in words.
    pub missed: Vec<String>,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every objective was held, nothing was violated and no run was void.
    pub passed: bool,
    /// Otherwise what was not, a sentence each.
    pub reasons: Vec<String>,
    /// Ctrl-C ended it; the report has what there was.
    pub interrupted: bool,
}

/// One measured phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The seed of its arrivals, choices and keys.
    pub seed: u64,
    /// When the measured phase began.
    pub started_at: DateTime<Utc>,
    /// Seconds of the measured phase.
    pub seconds: f64,
    /// Requests a second that were to be sent; none in a closed loop.
    pub target_rate: Option<f64>,
    /// Requests that the operations which were to begin in the measured phase were to send; 0 in a
    /// closed loop.
    pub due: u64,
    /// Answers with a status of 500 and above, also those of the warm-up.
    pub server_errors: u64,
    /// Requests whose intended start was in the measured phase.
    pub attempted: u64,
    /// Those that were answered as they should be.
    pub good: u64,
    /// The others: attempted = good + errors.
    pub errors: u64,
    /// Good answers a second.
    pub achieved_rate: f64,
    /// Good of attempted: the availability that a client saw.
    pub availability: f64,
    /// Of the operations, the share that began within `late_after` of its intended start. Below
    /// 0.95 the generator was too slow and the run is void.
    pub on_time: f64,
    /// Why the run says nothing, when it does not.
    pub void: Option<String>,
    /// Of the requests, the share that waited for a free connection (the time is in the latency).
    pub waited_for_connection: f64,
    /// From the intended start of a request to the last byte of its answer; of errors only those
    /// that were waited for in vain.
    pub latency: Latency,
    /// By operation, in the order of the scenario.
    pub operations: Vec<Operation>,
    /// Answers that a correct server never gives. They are no errors, and fail the run.
    pub violations: Vec<Example>,
    /// What went wrong, by kind.
    pub failures: Vec<Example>,
    /// From the answer to a write until a read without a token shows it.
    pub visibility: Visibility,
    /// One a second of the measured phase.
    pub timeline: Vec<Second>,
    /// What the servers said about themselves, one an address that was asked.
    pub servers: Vec<Server>,
}

/// A distribution of durations, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: f64,
    /// Half took at most this.
    pub p50: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// Percentile (0 to 100) and milliseconds, rising: the curve.
    pub curve: Vec<(f64, f64)>,
}

/// What one kind of operation came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its kind, as scenarios name it.
    pub name: String,
    /// Requests.
    pub attempted: u64,
    /// Those that were not answered as they should be.
    pub errors: u64,
    /// By HTTP status, or by what happened instead (`timeout`, `connect`).
    pub statuses: BTreeMap<String, u64>,
    /// As that of the run.
    pub latency: Latency,
}

/// A kind of failure or violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its kind.
    pub kind: String,
    /// How often it occurred.
    pub count: u64,
    /// The first one, in words.
    pub example: String,
}

/// How long writes took to be seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Visibility {
    /// Of the writes that were followed.
    pub lag: Latency,
    /// Writes that were followed and not seen in time, although looks were answered.
    pub not_seen: u64,
    /// Reads that looked for them; they are in no other figure.
    pub looks: u64,
}

/// A second of the measured phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the measured phase began.
    pub at: u32,
    /// Good answers in it.
    pub good: u64,
    /// Errors in it.
    pub errors: u64,
    /// Of the answers in it, in milliseconds.
    pub p50: f64,
    /// The same.
    pub p99: f64,
    /// The same.
    pub max: f64,
}

/// What one `/metrics` address told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// The address.
    pub url: String,
    /// The service's own name, as its metrics have it.
    pub service: String,
    /// Why it told nothing, when it did not.
    pub error: Option<String>,
    /// Figures over the measured phase, in the order to show.
    pub figures: Vec<Figure>,
    /// Figures each second.
    pub series: Vec<Series>,
}

/// A figure of a server, over the measured phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what: `cores`, `bytes`, `ms`, `/s`, `share`, or nothing for a count.
    pub unit: String,
}

/// A figure of a server through time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// As in [`Figure`].
    pub unit: String,
    /// Seconds since the measured phase began, and the value.
    pub points: Vec<(f64, f64)>,
}
