//! `loadtest run`: checks what was asked for, prepares, runs, and makes the report.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cli::RunArgs;
use crate::client::{Client, Targets};
use crate::crowd::Crowd;
use crate::machine;
use crate::objectives::{Objectives, reasons};
use crate::progress::Progress;
use crate::report::{FORMAT, Report, Run, SearchStep, Setting, Verdict};
use crate::run::{Load, Plan, World, run};
use crate::scenario::Scenario;
use crate::search;
use crate::servers;
use crate::setup;
use crate::tokens::{self, TenantTokens};

/// What a principal may send a second unless the server says otherwise; 1,000 in Runnel.
const PRINCIPAL_RATE: f64 = 1_000.0;

/// Runs what was asked for.
///
/// # Errors
/// When it cannot be begun: wrong arguments, no tokens, nobody there. A load that went badly is a
/// report.
pub(crate) async fn invoke(args: &RunArgs, interrupt: CancellationToken) -> anyhow::Result<Report> {
    let scenario = Scenario::load(&args.scenario)?;
    for url in [&args.command_url, &args.query_url]
        .into_iter()
        .chain(&args.metrics)
    {
        near(url, args.allow_remote)?;
    }
    let tokens = tokens::read(&args.tokens)?;
    let progress = Progress::new(args.quiet);
    suffice(args, &scenario, &tokens, &progress)?;
    let targets = Targets {
        command: base(&args.command_url),
        query: base(&args.query_url),
    };
    let connections = usize::try_from(connections(args))?;
    let world = Arc::new(World {
        client: Client::new(targets, connections, args.timeout),
        crowd: Crowd::new(&scenario.population, &tokens),
        scenario,
        metrics: args.metrics.iter().map(Url::to_string).collect(),
        interrupt,
    });
    if let Some(folder) = &args.out {
        make(folder)?;
    }
    for (url, why) in servers::unreadable(&world.metrics).await {
        progress.say(&format!("note: no figures of the server at {url}: {why}"));
    }
    let tenants: Vec<&str> = tokens.iter().map(|tenant| tenant.name.as_str()).collect();
    progress.say(&format!(
        "registering {} users in {}",
        world.crowd.users().len(),
        tenants.join(", ")
    ));
    setup::run(&world, connections).await?;
    let started_at = chrono::Utc::now();
    let (search, runs) = measure(args, &world, &progress).await;
    let interrupted = world.interrupt.is_cancelled();
    let objectives = objectives(args).judge(&runs);
    let mut reasons = reasons(&objectives, &runs);
    if interrupted {
        reasons.push("it was interrupted".to_owned());
    }
    Ok(Report {
        format: FORMAT,
        loadtest_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        command_line: std::env::args().collect(),
        targets: vec![base(&args.command_url), base(&args.query_url)],
        machine: machine::this(),
        settings: settings(args),
        scenario: world.scenario.name.clone(),
        scenario_text: world.scenario.text.clone(),
        objectives,
        runs,
        search,
        verdict: Verdict {
            passed: reasons.is_empty(),
            reasons,
            interrupted,
        },
    })
}

async fn measure(
    args: &RunArgs,
    world: &Arc<World>,
    progress: &Progress,
) -> (Vec<SearchStep>, Vec<Run>) {
    let first = args.seeds.first().copied().unwrap_or(1);
    let plan = plan(args, first);
    if args.find_max {
        let objectives = objectives(args);
        return search::find_max(world, plan, args.rate, &args.seeds, &objectives, progress).await;
    }
    let mut runs = Vec::new();
    for seed in &args.seeds {
        if world.interrupt.is_cancelled() {
            break;
        }
        progress.say(&format!("seed {seed}"));
        runs.push(
            run(
                world,
                Plan {
                    seed: *seed,
                    ..plan
                },
                progress,
            )
            .await,
        );
    }
    (Vec::new(), runs)
}

/// Those who wait for their answers need one each.
fn connections(args: &RunArgs) -> u32 {
    args.closed.unwrap_or(args.connections)
}

/// Only this machine, unless told otherwise.
fn near(url: &Url, allow_remote: bool) -> anyhow::Result<()> {
    let host = url
        .host_str()
        .with_context(|| format!("{url} has no host"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("{url} is neither http:// nor https://");
    }
    if allow_remote {
        return Ok(());
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let mut addresses = (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()
        .with_context(|| format!("{host} is not known"))?;
    if addresses.all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    bail!("{url} is not this machine; --allow-remote loads it all the same")
}

/// The address without the slash at its end.
fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn suffice(
    args: &RunArgs,
    scenario: &Scenario,
    tokens: &[TenantTokens],
    progress: &Progress,
) -> anyhow::Result<()> {
    let needed = scenario.population.tenants;
    if tokens.len() < needed {
        bail!(
            "scenario {} is about {needed} tenants, and the tokens are of {}; `runnel token \
             --tenant NAME --role admin --count N --out FILE` writes those of another",
            scenario.name,
            tokens.len()
        );
    }
    let admins: usize = tokens.iter().map(|tenant| tenant.admins.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    let room = admins as f64 * PRINCIPAL_RATE;
    if args.closed.is_none() && args.rate > room {
        progress.say(&format!(
            "note: {admins} tokens of role admin may not suffice for {}/s: a principal may send \
             {PRINCIPAL_RATE}/s unless the server is told otherwise, and 429 is an error here",
            args.rate
        ));
    }
    Ok(())
}

fn plan(args: &RunArgs, seed: u64) -> Plan {
    let open = Load::Open {
        rate: args.rate,
        spacing: args.arrivals,
    };
    let closed = |users| Load::Closed {
        users: usize::try_from(users).unwrap_or(usize::MAX),
    };
    Plan {
        load: args.closed.map_or(open, closed),
        warm_up: args.warm_up,
        measured: args.duration,
        drain: args.timeout,
        late_after: args.late_after,
        outstanding_max: args.outstanding_max,
        followed_per_second: args.followed_per_second,
        seed,
    }
}

fn objectives(args: &RunArgs) -> Objectives {
    let milliseconds = |limit: std::time::Duration| limit.as_secs_f64() * 1e3;
    Objectives {
        p50: milliseconds(args.p50_max),
        p95: milliseconds(args.p95_max),
        p99: milliseconds(args.p99_max),
        errors: args.errors_max,
        rate: args.rate_min,
        server_errors: args.server_errors_max,
    }
}

/// Everything that decided the run, defaults included. Token files by name only.
fn settings(args: &RunArgs) -> Vec<Setting> {
    let duration = |value: std::time::Duration| humantime::format_duration(value).to_string();
    let share = |value: f64| format!("{} %", value * 100.0);
    let list = |values: Vec<String>| values.join(", ");
    let load = match (args.closed, args.find_max) {
        (Some(users), _) => format!("closed, {users} virtual users"),
        (None, true) => format!("open, searched from {}/s on", args.rate),
        (None, false) => format!("open, {}/s", args.rate),
    };
    let each = [
        ("scenario", args.scenario.clone()),
        ("load", load),
        ("arrivals", format!("{:?}", args.arrivals).to_lowercase()),
        ("connections", connections(args).to_string()),
        ("warm-up", duration(args.warm_up)),
        ("duration", duration(args.duration)),
        (
            "seeds",
            list(args.seeds.iter().map(u64::to_string).collect()),
        ),
        ("timeout", duration(args.timeout)),
        ("outstanding-max", args.outstanding_max.to_string()),
        ("late-after", duration(args.late_after)),
        ("followed-per-second", args.followed_per_second.to_string()),
        ("p50-max", duration(args.p50_max)),
        ("p95-max", duration(args.p95_max)),
        ("p99-max", duration(args.p99_max)),
        ("errors-max", share(args.errors_max)),
        ("rate-min", share(args.rate_min)),
        (
            "server-errors-max",
            args.server_errors_max
                .map_or("none".to_owned(), |limit| limit.to_string()),
        ),
        ("command-url", args.command_url.to_string()),
        ("query-url", args.query_url.to_string()),
        (
            "metrics",
            list(args.metrics.iter().map(Url::to_string).collect()),
        ),
        (
            "tokens",
            list(
                args.tokens
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect(),
            ),
        ),
    ];
    each.map(|(name, value)| Setting {
        name: name.to_owned(),
        value,
    })
    .into()
}

/// The folder that was named, or one of the scenario and the time.
pub(crate) fn folder(args: &RunArgs, report: &Report) -> PathBuf {
    let time = report.started_at.format("%Y%m%dT%H%M%SZ");
    args.out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("loadtest-{}-{time}", report.scenario)))
}

fn make(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}

/// Writes `report.json` and `report.html`. Of a load that was interrupted before it measured
/// anything there is none, and the last one stays; false then.
///
/// # Errors
/// When the folder cannot be made, or they cannot be written.
pub(crate) fn write(report: &Report, html: &str, folder: &Path) -> anyhow::Result<bool> {
    let empty = report.runs.iter().all(|run| run.attempted == 0);
    if report.verdict.interrupted && empty {
        return Ok(false);
    }
    make(folder)?;
    let json = serde_json::to_vec_pretty(report)?;
    for (name, bytes) in [
        ("report.json", json.as_slice()),
        ("report.html", html.as_bytes()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    #[test]
    fn a_load_that_was_interrupted_before_it_measured_leaves_no_report_and_the_last_one_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let written = |report: &Report| write(report, "page", folder.path()).expect("a folder");
        assert!(written(&examples::passing()));
        assert!(!written(&examples::empty()));
        let kept = std::fs::read(folder.path().join("report.json")).expect("a report");
        let kept: Report = serde_json::from_slice(&kept).expect("a report");
        assert!(kept.verdict.passed);
    }
}
