//! The runner: starts the full form in a folder and on ports of its own, loads it, damages it in a
//! seeded order, heals it, dumps what stands at rest and lets the checker judge.
//!
//! | module | its part |
//! |---|---|
//! | [`system`] | the servers and processes |
//! | [`faults`] | what is done to them, and in which order |
//! | [`clients`], [`session`], [`request`] | who asks, what, and how it is written down |
//! | [`tails`] | readers that follow the event table |
//! | [`dump`], [`cache`], [`topic`] | what stands at rest |

mod cache;
mod clients;
mod dice;
mod dump;
mod faults;
mod request;
mod session;
mod system;
mod tails;
mod topic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chaos::check::{self, Report};
use chaos::history::{Fault, Folder, Outcome, Recorder, Scene};
use clap::{Args, ValueEnum};
use testkit::servers::workspace_root;

use clients::Clients;
use dice::Dice;
use system::System;
use tails::Tails;

/// The published bound of a cached answer: `CACHE_L1_FRESH`.
const STALENESS_MAX: Duration = Duration::from_secs(1);
/// What a busy machine may add between an answer and the clock of its client.
const STALENESS_SLACK: Duration = Duration::from_secs(1);
/// Load between two faults.
const BETWEEN: Duration = Duration::from_millis(700);

/// A server that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    Redis,
    Kafka,
}

/// How long and how much.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Repeats the order of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// How often each kind of fault comes.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// No further fault after this time; the rest of the run is bounded by itself.
    #[arg(long, default_value_t = 600)]
    seconds_max: u64,
    /// Load without damage before the faults and after them; otherwise staleness would never be
    /// measured.
    #[arg(long, default_value_t = 7)]
    calm_seconds: u64,
    /// Sessions that ask at the same time.
    #[arg(long, default_value_t = 12)]
    sessions: usize,
    /// Run without this server, and without its faults and checks.
    #[arg(long)]
    without: Vec<Server>,
    /// Keep the folder also when everything is well.
    #[arg(long)]
    keep: bool,
}

/// Runs it to its end, or to Ctrl-C; either stops everything that it started.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let home = workspace_root().join(format!(".runnel/chaos-{}", std::process::id()));
    let history = home.join("history");
    std::fs::create_dir_all(&history).with_context(|| format!("making {}", history.display()))?;
    let folder = Folder::at(&history);
    let report = tokio::select! {
        report = damage(&args, home.clone(), &folder) => report?,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            say("interrupted; everything that was started is stopped");
            if !args.keep {
                remove(&home)?;
            }
            return Ok(ExitCode::from(130));
        }
    };
    if report.is_good() && !args.keep {
        remove(&home)?;
    } else {
        say(&format!("history and logs are in {}", home.display()));
    }
    Ok(ExitCode::from(u8::from(!report.is_good())))
}

fn remove(home: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(home).with_context(|| format!("removing {}", home.display()))
}

async fn damage(args: &RunArgs, home: PathBuf, folder: &Folder) -> anyhow::Result<Report> {
    let seed = args.seed.unwrap_or_else(dice::seed_of_now);
    say(&format!(
        "seed {seed}: --seed {seed} repeats the order of the faults"
    ));
    let begun = Instant::now();
    let mut system = System::start(home, &args.without).await?;
    say(&format!(
        "everything is up after {:.0?}; PostgreSQL has fsync on",
        begun.elapsed()
    ));
    let recorder = Recorder::begin(folder)?;
    let tails = Tails::follow(&system, &recorder);
    let clients = Clients::start(&system, &recorder, seed, args.sessions);
    folder.dump("scene", &[scene(&system, &clients, seed)])?;

    let calm = Duration::from_secs(args.calm_seconds);
    tokio::time::sleep(calm).await;
    let order = faults::order(&mut Dice::new(seed), args.rounds, &args.without);
    let deadline = Instant::now() + Duration::from_secs(args.seconds_max);
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for fault in order {
        if Instant::now() > deadline {
            say("the time for faults is over");
            break;
        }
        let (what, begun) = (fault.to_string(), recorder.now());
        fault.strike(&mut system).await;
        let ended = recorder.now();
        say(&format!(
            "{:>4} s  {what} ({} ms)",
            begun / 1_000_000,
            (ended - begun) / 1_000
        ));
        *done.entry(fault.kind().to_owned()).or_default() += 1;
        recorder.fault(&Fault { what, begun, ended });
        tokio::time::sleep(BETWEEN).await;
    }
    tokio::time::sleep(calm).await;
    clients.stop().await;
    system.wait_until_applied().await;
    clients.read_at_rest(&system, &recorder).await;
    dump::take(&system, folder).await?;
    tails.finish().await;
    drop(system);

    let history = folder.read()?;
    let report = check::check(&history);
    let count = |outcome| {
        history
            .operations
            .iter()
            .filter(|op| op.outcome == outcome)
            .count()
    };
    say(&format!("faults: {done:?}"));
    say(&format!(
        "operations: {} ok, {} refused, {} unknown",
        count(Outcome::Ok),
        count(Outcome::Refused),
        count(Outcome::Unknown)
    ));
    say(&report.to_string());
    say(&format!("seed {seed}, {:.0?} in all", begun.elapsed()));
    Ok(report)
}

fn scene(system: &System, clients: &Clients, seed: u64) -> Scene {
    let bound = STALENESS_MAX + STALENESS_SLACK;
    Scene {
        seed,
        partitions: testkit::database::TEST_PARTITIONS,
        canaries: clients.canaries(),
        has_kafka: system.has_kafka(),
        has_redis: system.has_redis(),
        staleness_us_max: u64::try_from(bound.as_micros()).unwrap_or(u64::MAX),
    }
}

#[expect(clippy::print_stdout, reason = "a program that reports")]
fn say(line: &str) {
    println!("{line}");
}
