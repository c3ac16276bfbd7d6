//! `projector status`.

use std::time::Duration;

use super::connect::ConnectArgs;
use super::output::{Output, say, say_json, table, text};
use super::rebuild::named;
use crate::engine::standing::{self, Standing};

/// How often `--watch` looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";

/// The columns that do not explain themselves.
const LEGEND: &str = "\
Columns:
  STATE        active is served; filling is not yet; building is filled by `projector rebuild`,
               and by no daemon; standby was served, and can be again; paused is fed by nobody until
               it is resumed
  POSITION     the last event that the partition's rows contain
  HEAD         the last event of the partition in the event store
  LAG          how many events lie between the two; LAG SECONDS, since when; - for what is neither
               served nor can be fed, because it does not come up by waiting
  PARKED       keys whose events wait for an operator; see `projector parked list`
  FED          whether a live `projector run` holds the partition's lease and so feeds it now;
               \"nobody can\": no live one has the revision of that fold";

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
    if let Some(name) = &args.projection {
        named(name)?;
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
            lag_of(one, one.lag_events.to_string()),
            lag_of(one, format!("{:.1}", one.lag_seconds)),
            one.parked_keys.to_string(),
            fed(one),
            one.source.clone(),
        ]);
    }
    text(&table)
}

fn lag_of(one: &Standing, lag: String) -> String {
    let is_left = !one.feedable && matches!(one.state.as_str(), "filling" | "standby");
    if is_left { "-".to_owned() } else { lag }
}

fn fed(one: &Standing) -> String {
    match (one.fed, one.feedable) {
        _ if one.state == "building" => "by the rebuild".to_owned(),
        (true, _) => "yes".to_owned(),
        (false, true) => "no".to_owned(),
        (false, false) => format!("nobody can (revision {})", one.revision),
    }
}
