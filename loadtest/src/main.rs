//! The program: parse, run, report. Exit codes: 0 when every objective was held, 1 when one was
//! missed or it could not be run, 64 for a wrong command line, 130 when it was interrupted.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use loadtest::cli::Cli;
use loadtest::program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_USAGE: i32 = 64;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        // Nobody is left to tell when standard error is closed.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { EXIT_USAGE } else { 0 })
    });
    match program::run(cli) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
