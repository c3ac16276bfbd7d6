//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::arrivals::Spacing;

/// Loads a Runnel over HTTP, checks every answer, and reports
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a scenario: commands, reads, mixed, session, or a TOML file
    Run(Box<RunArgs>),
    /// Compare two `report.json`
    Compare(CompareArgs),
    /// Print a scenario, to read it or to begin one's own
    Scenario(ScenarioArgs),
    /// Describe a graph of followers: an edge list, or one of a seed
    Graph(GraphArgs),
}

/// What to run, and against what. Of a flag that is given twice the last one counts.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub struct RunArgs {
    /// commands, reads, mixed, session, or the path of a TOML file
    pub scenario: String,
    /// Files of bearer tokens, one a line, joined by commas; each tenant needs one of role admin,
    /// all of them together one for every 1,000 requests a second; with each of role user somebody
    /// acts for themselves
    #[arg(long, required = true, value_delimiter = ',')]
    pub tokens: Vec<PathBuf>,
    /// Where commands are accepted
    #[arg(long, env = "COMMAND_URL", default_value = "http://127.0.0.1:8080")]
    pub command_url: url::Url,
    /// Where queries are answered
    #[arg(long, env = "QUERY_URL", default_value = "http://127.0.0.1:8081")]
    pub query_url: url::Url,
    /// Addresses of /metrics whose figures stand in the report
    #[arg(long, value_delimiter = ',')]
    pub metrics: Vec<url::Url>,
    /// Load other machines than this one; be sure that they are yours
    #[arg(long)]
    pub allow_remote: bool,

    /// Requests a second, whether they are answered or not
    #[arg(long, default_value = "500", value_parser = rate)]
    pub rate: f64,
    /// The times between the operations
    #[arg(long, value_enum, default_value = "exponential")]
    pub arrivals: Spacing,
    /// Instead of a rate: so many virtual users, each of which waits for its answers
    #[arg(long, value_name = "N", conflicts_with_all = ["find_max", "rate"],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub closed: Option<u32>,
    /// Search for the highest rate that holds the objectives, from --rate on
    #[arg(long)]
    pub find_max: bool,
    /// Connections, and so requests that can be on their way at the same time; with --closed as
    /// many as users
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// What comes before the measured phase
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub warm_up: Duration,
    /// The measured phase of each run
    #[arg(long, default_value = "30s", value_parser = measured)]
    pub duration: Duration,
    /// One run each
    #[arg(long, default_value = "1", value_delimiter = ',')]
    pub seeds: Vec<u64>,
    /// How long an answer may take before it counts as an error
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// Operations that may be on their way or waiting for a connection; more are errors
    #[arg(long, default_value = "100000")]
    pub outstanding_max: usize,
    /// An operation that begins later than this is late; with more than 5 % late ones a run is void
    #[arg(long, default_value = "5ms", value_parser = duration)]
    pub late_after: Duration,
    /// Writes a second that are followed by reads until they are seen
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub followed_per_second: u32,

    /// Objective: half of the requests take less
    #[arg(long, default_value = "10ms", value_parser = duration)]
    pub p50_max: Duration,
    /// Objective: 95 of 100 take less
    #[arg(long, default_value = "50ms", value_parser = duration)]
    pub p95_max: Duration,
    /// Objective: 99 of 100 take less
    #[arg(long, default_value = "100ms", value_parser = duration)]
    pub p99_max: Duration,
    /// Objective: fewer requests fail, such as 0.1%
    #[arg(long, default_value = "0.1%", value_parser = percent)]
    pub errors_max: f64,
    /// Objective: at least this part of what was due is answered well meanwhile
    #[arg(long, default_value = "95%", value_parser = percent)]
    pub rate_min: f64,
    /// Objective: at most so many answers with a status of 500 and above
    #[arg(long)]
    pub server_errors_max: Option<u32>,

    /// The folder of report.json and report.html; default: loadtest-SCENARIO-TIME
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Tell nothing but the summary
    #[arg(long)]
    pub quiet: bool,
}

/// Two reports.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// The one that is compared with: report.json, or its folder
    pub before: PathBuf,
    /// The other one
    pub after: PathBuf,
}

/// A scenario.
#[derive(Clone, Debug, Args)]
pub struct ScenarioArgs {
    /// commands, reads, mixed, session, or the path of a TOML file
    pub scenario: String,
}

/// A graph.
#[derive(Clone, Debug, Args)]
pub struct GraphArgs {
    /// An edge list: a pair `a b` a line, or a Matrix Market file
    #[arg(long, conflicts_with_all = ["nodes", "exponent", "mean", "seed"])]
    pub edges: Option<PathBuf>,
    /// Nodes of a drawn graph
    #[arg(long, default_value = "10000",
        value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    pub nodes: u32,
    /// The power with which its followers fall
    #[arg(long, default_value = "2.2")]
    pub exponent: f64,
    /// Followers of a node, on average
    #[arg(long, default_value = "40")]
    pub mean: f64,
    /// Of the draw
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Write the edge list to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
}

const RATE_MAX: f64 = 1_000_000.0;
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    if rate > 0.0 && rate <= RATE_MAX {
        Ok(rate)
    } else {
        Err(format!(
            "is not above 0 and at most {RATE_MAX} requests a second"
        ))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text);
    let duration = duration.map_err(|error| format!("{error}; such as 250ms, 10s, 5m"))?;
    if duration <= DURATION_MAX {
        Ok(duration)
    } else {
        Err("is longer than a day".to_owned())
    }
}

fn measured(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration >= Duration::from_secs(1) {
        Ok(duration)
    } else {
        Err("is shorter than 1s".to_owned())
    }
}

/// `0.1%` or `0.001`.
fn percent(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| "is no share, such as 0.1%".to_owned())?;
    let share = number * unit;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("is not between 0% and 100%; without % it is a share, such as 0.001".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_verbs_and_their_flags_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shares_and_durations_have_units() {
        assert_eq!(percent("0.1%"), Ok(0.001));
        assert_eq!(percent("0.001"), Ok(0.001));
        assert!(percent("101%").is_err());
        assert!(duration("10").is_err());
        assert!(measured("500ms").is_err());
        assert!(rate("0").is_err() && rate("NaN").is_err());
    }
}
