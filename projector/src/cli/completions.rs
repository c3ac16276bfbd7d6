//! `projector completions SHELL`.

use clap::CommandFactory as _;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Cli::command(),
        "projector",
        &mut script,
    );
    Ok(platform::output::write(&script)?)
}
