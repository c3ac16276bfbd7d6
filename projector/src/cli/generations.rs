//! `projector rollback` and `projector gc`.

use std::time::Duration;

use super::connect::ConnectArgs;
use super::output::say;
use super::rebuild::named;
use crate::rebuild::gc::{self, Garbage};
use crate::rebuild::rollback;

/// What to show again.
#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    /// The projection, such as user_view
    projection: String,
    /// The generation to show [default: the one that was shown last]
    #[arg(long)]
    to: Option<i32>,
    /// How long to wait until it is as far as what is shown
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    patience: Duration,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What to drop.
#[derive(Debug, clap::Args)]
pub(super) struct GcArgs {
    /// The projection, such as user_view
    projection: String,
    /// Drop it; without this it is only said what would be dropped
    #[arg(long)]
    yes: bool,
    /// Also what `projector rollback` would show
    #[arg(long)]
    with_last_standby: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn rollback(args: RollbackArgs) -> anyhow::Result<()> {
    let projection = named(&args.projection)?;
    let pool = args.connect.connect()?;
    let done = rollback::rollback(&pool, projection, args.to, args.patience).await?;
    say(format!(
        "generation {} of {} is shown again instead of {}",
        done.to, args.projection, done.from
    ))
}

pub(super) async fn gc(args: GcArgs) -> anyhow::Result<()> {
    let projection = named(&args.projection)?;
    let pool = args.connect.connect()?;
    let garbage = gc::find(&pool, projection, args.with_last_standby).await?;
    let last = gc::last_standby(&pool, projection).await?;
    let kept = last.filter(|_| !args.with_last_standby);
    if let Some(kept) = kept {
        say(format!(
            "generation {kept} is kept for `projector rollback`; --with-last-standby drops it, too"
        ))?;
    }
    if garbage.is_empty() {
        let else_ = if kept.is_some() { "else " } else { "" };
        return say(format!("there is nothing {else_}to drop"));
    }
    let told = |verb: &str, one: Garbage| {
        let (generation, state) = (one.generation, one.state);
        say(format!("{verb} generation {generation} ({state})"))
    };
    if !args.yes {
        garbage
            .iter()
            .try_for_each(|&one| told("would drop", one))?;
        return say("say --yes to drop them");
    }
    let mut said = Ok(());
    let tell = |one, dropped| {
        let verb = if dropped { "dropped" } else { "did not drop" };
        let told = told(verb, one);
        said = std::mem::replace(&mut said, Ok(())).and(told);
    };
    gc::drop_all(&pool, projection, &garbage, tell).await?;
    said
}
