//! `projector status`.

use std::time::Duration;

use anyhow::bail;

use super::connect::ConnectArgs;
use super::output::{Output, say, say_json, table, text};
use crate::engine::standing::{self, Standing};

/// How often `--watch` looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";

/// The columns that do not explain themselves.
const LEGEND: &str = "\
Columns:
  STATE        active is served; filling is not yet; standby was, and can be again; paused is fed
               by nobody until it is resumed
  POSITION     the last event that the partition's rows contain
  HEAD         the last event of the partition in the event store
  LAG          how many events lie between the two; LAG SECONDS, since when
  PARKED       keys whose events wait for an operator; see `projector parked list`
  FED          whether a live `projector run` holds the partition's lease and so feeds it now";

/// What to show, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = LEGEND)]
pub(super) struct StatusArgs {
    /// Only this projection
    projection: Option<String>,
    /// Show it again every second until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// For whom
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn status(args: StatusArgs) -> anyhow::Result<()> {
    if let Some(name) = &args.projection
        && read_model::projection(name).is_none()
    {
        bail!("there is no projection `{name}`");
    }
    let pool = args.connect.connect()?;
    loop {
        let standings = standing::read(&pool, args.projection.as_deref()).await?;
        match args.output {
            Output::Json if args.watch => say(serde_json::to_string(&standings)?)?,
            Output::Json => say_json(&standings)?,
            Output::Table if args.watch => say(format!("{CLEAR_SCREEN}{}", shown(&standings)))?,
            Output::Table => say(shown(&standings))?,
        }
        if !args.watch {
            return Ok(());
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    }
}

fn shown(standings: &[Standing]) -> String {
    if standings.is_empty() {
        return "no projection has begun yet; `projector run` feeds them".to_owned();
    }
    let header = [
        "PROJECTION",
        "GENERATION",
        "STATE",
        "PARTITION",
        "POSITION",
        "HEAD",
        "LAG",
        "LAG SECONDS",
        "PARKED",
        "FED",
        "SOURCE",
    ];
    let mut table = table(&header, &[1, 3, 4, 5, 6, 7, 8]);
    for one in standings {
        let state = if one.paused { "paused" } else { &one.state };
        table.add_row([
            one.projection.clone(),
            one.generation.to_string(),
            state.to_owned(),
            one.partition.to_string(),
            one.position.to_string(),
            one.head.to_string(),
            one.lag_events.to_string(),
            format!("{:.1}", one.lag_seconds),
            one.parked_keys.to_string(),
            if one.fed { "yes" } else { "no" }.to_owned(),
            one.source.clone(),
        ]);
    }
    text(&table)
}
