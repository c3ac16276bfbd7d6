//! The verbs of `runnel`, and what is the same for all of them.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use platform::config::{EXIT_USAGE, Environment, load, parse_or_exit as parse_with_home_file};
use platform::output::OutputError;

use crate::completions::CompletionsArgs;
use crate::demo::DemoArgs;
use crate::home::HomeArgs;
use crate::migrate::MigrateArgs;
use crate::token::TokenArgs;
use crate::up::{self, UpArgs};

/// Runnel in one process, and what one needs round it
#[derive(Debug, Parser)]
#[command(name = "runnel", version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run everything in this process: a private PostgreSQL, both APIs and the projector
    Up(Box<UpArgs>),
    /// Bring the database to this version's schema and make the event store in it
    Migrate(Box<MigrateArgs>),
    /// Make the keys for development where they are absent
    Keys(HomeArgs),
    /// Sign tokens for development
    Token(TokenArgs),
    /// Register a few hundred users with a running `runnel up` and read them back
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// Parses arguments, environment and RUNNEL_HOME/env; wrong ones end the process with 64.
#[must_use]
pub fn parse_or_exit() -> Verb {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "up") {
        return parse_up_or_exit().verb;
    }
    parse_with_home_file::<Cli>().verb
}

/// `runnel up` writes RUNNEL_HOME/env and so does not read it: the file describes a past run. A
/// mark stands for the database that is not there yet.
fn parse_up_or_exit() -> Cli {
    let mut environment = Environment::of_process();
    environment.add_below(up::own_database_mark());
    match load(std::env::args_os(), environment) {
        Ok((cli, _)) => cli,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = error.print();
            std::process::exit(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    }
}

/// Runs a short verb on a runtime of its own.
///
/// # Errors
/// The verb's.
pub fn block_on(verb: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(verb)
}

/// Tells an error with its causes on one line, and makes the exit code of it.
#[must_use]
pub fn report(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if matches!(error.downcast_ref(), Some(OutputError::Closed)) {
        return ExitCode::SUCCESS;
    }
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_verbs_and_their_flags_fit_together() {
        Cli::command().debug_assert();
    }
}
