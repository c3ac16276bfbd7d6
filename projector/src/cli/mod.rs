//! The operator's command line. Every verb fails with a code other than 0 and a sentence on
//! standard error, and none prints a personal value.

mod cache;
mod completions;
mod connect;
mod generations;
mod kafka;
mod output;
mod parked;
mod pause;
mod progress;
mod rebuild;
mod relay;
mod run;
mod status;
mod store;
mod topics;

use clap::{Parser, Subcommand};

/// Feeds the read models from the event store, and shows and repairs them.
#[derive(Debug, Parser)]
#[command(name = "projector", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Feed the projections until stopped
    Run(Box<run::RunArgs>),
    /// Show how far each projection is: position, head and lag per partition
    Status(status::StatusArgs),
    /// Show and repair events that could not be applied
    #[command(subcommand)]
    Parked(parked::ParkedVerb),
    /// Stop feeding a projection, in every daemon, until it is resumed
    Pause(pause::PauseArgs),
    /// Feed a paused projection again
    Resume(pause::PauseArgs),
    /// Look after what is in Redis
    #[command(subcommand)]
    Cache(Box<cache::CacheVerb>),
    /// Fold a projection anew from the event store, prove it, and only then show it
    Rebuild(rebuild::RebuildArgs),
    /// Compare what is shown with a fresh fold of the events, and show nothing else
    Verify(rebuild::VerifyArgs),
    /// Show again what was shown before the last switch
    Rollback(generations::RollbackArgs),
    /// Drop generations that nobody will show again
    Gc(generations::GcArgs),
    /// Show and repair the event store itself
    #[command(subcommand)]
    Store(store::StoreVerb),
    /// Make and check the Kafka topic of the events
    #[command(subcommand)]
    Topics(topics::TopicsVerb),
    /// Show how far the topic is behind the event store, and have it filled again
    #[command(subcommand)]
    Relay(relay::RelayVerb),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// With what stands in the way, for standard error.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Run(args) => run::run(*args).await,
            Verb::Status(args) => status::status(args).await,
            Verb::Parked(verb) => parked::parked(verb).await,
            Verb::Pause(args) => pause::set_paused(args, true).await,
            Verb::Resume(args) => pause::set_paused(args, false).await,
            Verb::Cache(verb) => cache::cache(*verb).await,
            Verb::Rebuild(args) => rebuild::rebuild(args).await,
            Verb::Verify(args) => rebuild::verify(args).await,
            Verb::Rollback(args) => generations::rollback(args).await,
            Verb::Gc(args) => generations::gc(args).await,
            Verb::Store(verb) => store::store(verb).await,
            Verb::Topics(verb) => topics::topics(verb).await,
            Verb::Relay(verb) => relay::relay(verb).await,
            Verb::Completions(args) => completions::completions(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
