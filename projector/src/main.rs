//! The projector: the daemon that feeds the read models, and the operator's command line.

use std::io::Write as _;
use std::process::ExitCode;

use platform::output::OutputError;
use projector::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli: Cli = platform::config::parse_or_exit();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if matches!(error.downcast_ref(), Some(OutputError::Closed)) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(anstream::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
