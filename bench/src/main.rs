//! Yardsticks: each program measures Runnel beside what it must beat, interleaved in one run on one
//! machine, and prints ratios. They are run by hand; nothing in a test depends on a clock.

#![forbid(unsafe_code)]

mod all;
mod append;
mod command;
mod cpu;
mod figure;
mod gauge;
mod go;
mod http;
mod machine;
mod memory;
mod output;
mod people;
mod query;
mod rebuild;
mod registrations;
mod services;
mod visibility;

use clap::{Parser, Subcommand};

use self::figure::Row;

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
    #[command(flatten)]
    One(Measure),
    /// Every program in a short form, and one table with the marks (about 15 minutes).
    All(all::AllArgs),
    /// The yardstick of `query`.
    #[command(hide = true)]
    ServeBare(query::BareArgs),
    /// The yardstick of `command`.
    #[command(hide = true)]
    ServeStock(Box<command::StockArgs>),
}

/// A program that measures.
#[derive(Subcommand)]
enum Measure {
    /// Durable appends: stock cqrs-es with postgres-es, the bare insert, and ours.
    Append(append::AppendArgs),
    /// Durable commands over HTTP: command-api, stock cqrs-es behind the same handler, and Go.
    Command(command::CommandArgs),
    /// What a query hit and a command allocate, and whether query-api grows under load.
    Memory(memory::MemoryArgs),
    /// Queries over HTTP: hits in the process, in Redis, PostgreSQL reads; bare actix-web, Go.
    Query(query::QueryArgs),
    /// Rebuilds of `user_view` beside bare reads of the same events.
    Rebuild(rebuild::RebuildArgs),
    /// From the acknowledgement of a command until its effect can be read, by Kafka and without.
    Visibility(visibility::VisibilityArgs),
}

impl Measure {
    /// Runs it; its rows of the table.
    ///
    /// # Errors
    /// When there are no figures.
    async fn run(self) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Append(args) => append::run(args).await,
            Self::Command(args) => command::run(args).await,
            Self::Memory(args) => memory::run(args).await,
            Self::Query(args) => query::run(args).await,
            Self::Rebuild(args) => rebuild::run(args).await,
            Self::Visibility(args) => visibility::run(args).await,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let program = async {
        match Cli::parse().program {
            Program::One(measure) => measure.run().await.map(drop),
            Program::All(args) => all::run(args).await,
            Program::ServeBare(args) => query::serve_bare(args).await,
            Program::ServeStock(args) => command::serve_stock(*args).await,
        }
    };
    tokio::select! {
        result = program => result,
        // The cluster goes with the dropped future.
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}
