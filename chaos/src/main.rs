//! `chaos run` damages a running Runnel and records what its clients were told; `chaos check DIR`
//! judges what was recorded.

#![forbid(unsafe_code)]

mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use chaos::check;
use chaos::history::Folder;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Damages a running Runnel and judges what its clients were told")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start everything, load it, kill and pause and empty its parts, and judge what was seen.
    Run(run::RunArgs),
    /// Judge a recorded history; exit code 1 when it breaks an invariant.
    Check {
        /// The folder of the history.
        folder: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().verb {
        Verb::Run(args) => run::run(args).await,
        Verb::Check { folder } => judge(&Folder::at(&folder)),
    }
}

#[expect(clippy::print_stdout, reason = "a program that reports")]
fn judge(folder: &Folder) -> anyhow::Result<ExitCode> {
    let history = folder.read().context("reading the history")?;
    let report = check::check(&history);
    println!("{report}");
    Ok(ExitCode::from(u8::from(!report.is_good())))
}
