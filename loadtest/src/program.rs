//! The verbs.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, CompareArgs, GraphArgs, RunArgs, ScenarioArgs, Verb};
use crate::graph::power_law::PowerLaw;
use crate::graph::{Graph, edge_list};
use crate::invocation;
use crate::report::{compare, html, terminal};
use crate::scenario::Scenario;
use crate::setup::SetupError;

const EXIT_INTERRUPTED: u8 = 130;
/// Columns of a summary that goes to no terminal.
const WIDTH: usize = 100;

/// Does what was asked for.
///
/// # Errors
/// When it could not be done.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Run(args) => load(&args),
        Verb::Compare(args) => compare(&args),
        Verb::Scenario(args) => scenario(&args),
        Verb::Graph(args) => graph(&args),
    }
}

fn load(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let interrupt = CancellationToken::new();
    let invoked = runtime.block_on(async {
        tokio::spawn(until_interrupted(interrupt.clone()));
        invocation::invoke(args, interrupt.clone()).await
    });
    let report = match invoked {
        Err(error) if matches!(error.downcast_ref(), Some(SetupError::Interrupted)) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        invoked => invoked?,
    };
    let folder = invocation::folder(args, &report);
    let written = invocation::write(&report, &html::render(&report), &folder)?;
    let mut text = terminal::summary(&report, colour(), WIDTH);
    if written {
        let path = folder.join("report.html");
        text.push_str(&format!("report     {}\n", path.display()));
    }
    say(&text)?;
    Ok(match (report.verdict.interrupted, report.verdict.passed) {
        (true, _) => ExitCode::from(EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// The first Ctrl-C ends the load with a report of what was measured; the second one ends the
/// program.
async fn until_interrupted(interrupt: CancellationToken) {
    for _ in 0..2 {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        if interrupt.is_cancelled() {
            std::process::exit(EXIT_INTERRUPTED.into());
        }
        interrupt.cancel();
    }
}

fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let (before, after) = (compare::read(&args.before)?, compare::read(&args.after)?);
    say(&compare::compare(&before, &after).text(colour(), WIDTH))?;
    Ok(ExitCode::SUCCESS)
}

fn scenario(args: &ScenarioArgs) -> anyhow::Result<ExitCode> {
    say(&Scenario::load(&args.scenario)?.text)?;
    Ok(ExitCode::SUCCESS)
}

fn graph(args: &GraphArgs) -> anyhow::Result<ExitCode> {
    let graph = drawn_or_read(args)?;
    if let Some(out) = &args.out {
        let written = std::fs::write(out, graph.edge_list());
        written.with_context(|| format!("writing {}", out.display()))?;
    }
    say(&graph.describe())?;
    Ok(ExitCode::SUCCESS)
}

fn drawn_or_read(args: &GraphArgs) -> anyhow::Result<Graph> {
    if let Some(edges) = &args.edges {
        return edge_list::read(edges).with_context(|| format!("{}", edges.display()));
    }
    anyhow::ensure!(args.exponent > 1.0, "--exponent is not above 1");
    anyhow::ensure!(
        args.mean > 0.0 && args.mean < f64::from(args.nodes) / 2.0,
        "--mean is not between 0 and half of --nodes"
    );
    let law = PowerLaw {
        nodes: args.nodes,
        exponent: args.exponent,
        mean: args.mean,
        seed: args.seed,
    };
    Ok(law.draw())
}

fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Standard output is this program's product; what cannot be written ends it.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
