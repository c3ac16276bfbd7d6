//! Yardsticks: each program measures Runnel beside what it must beat, interleaved in one run on one
//! machine, and prints ratios. They are run by hand; nothing in a test depends on a clock.

#![forbid(unsafe_code)]

mod append;
mod command;
mod cpu;
mod figure;
mod gauge;
mod http;
mod machine;
mod output;
mod people;
mod query;
mod rebuild;
mod registrations;
mod services;
mod visibility;

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
    /// Durable commands over HTTP: command-api, and stock cqrs-es behind the same handler.
    Command(command::CommandArgs),
    /// The yardstick of `command`.
    #[command(hide = true)]
    ServeStock(command::StockArgs),
    /// Queries over HTTP: hits in the process, in Redis, reads of PostgreSQL, and bare actix-web.
    Query(query::QueryArgs),
    /// The yardstick of `query`.
    #[command(hide = true)]
    ServeBare(query::BareArgs),
    /// From the acknowledgement of a command until its effect can be read, by Kafka and without.
    Visibility(visibility::VisibilityArgs),
    /// Rebuilds of `user_view` beside bare reads of the same events.
    Rebuild(rebuild::RebuildArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let program = async {
        match Cli::parse().program {
            Program::Append(args) => append::run(args).await,
            Program::Command(args) => command::run(args).await.map(drop),
            Program::ServeStock(args) => command::serve_stock(args).await,
            Program::Query(args) => query::run(args).await.map(drop),
            Program::ServeBare(args) => query::serve_bare(args).await,
            Program::Visibility(args) => visibility::run(args).await,
            Program::Rebuild(args) => rebuild::run(args).await,
        }
    };
    tokio::select! {
        result = program => result,
        // The cluster goes with the dropped future.
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}
