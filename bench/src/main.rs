//! Yardsticks: each program measures Runnel beside what it must beat, interleaved in one run on one
//! machine, and prints ratios. They are run by hand; nothing in a test depends on a clock.

#![forbid(unsafe_code)]

mod append;
mod cluster;
mod cpu;
mod gauge;
mod machine;
mod people;
mod rebuild;

use clap::{Parser, Subcommand};

/// As in the services, and for every contender.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures Runnel beside what it must beat; see docs/performance.md")]
struct Cli {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// Durable appends: stock cqrs-es with postgres-es, the bare insert, and ours.
    Append(append::AppendArgs),
    /// Rebuilds of `user_view` beside bare reads of the same events.
    Rebuild(rebuild::RebuildArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let program = Cli::parse().program;
    let run = async {
        match program {
            Program::Append(args) => append::run(args).await,
            Program::Rebuild(args) => rebuild::run(args).await,
        }
    };
    tokio::select! {
        result = run => result,
        // The cluster goes with the dropped future.
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}
