//! `projector pause` and `projector resume`: a control row that every daemon looks at, and is told
//! of.

use super::connect::ConnectArgs;
use super::output::say;
use super::rebuild::named;

const SET_PAUSED: &str = "
with changed as (
    insert into projection.control (projection, paused)
    values ($1, $2)
    on conflict (projection) do update set paused = excluded.paused, changed_at = clock_timestamp()
    returning projection
)
select pg_notify('projection_control', projection) from changed";

/// Which projection.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The projection, such as user_view
    projection: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn set_paused(args: PauseArgs, paused: bool) -> anyhow::Result<()> {
    let name = args.projection;
    named(&name)?;
    let pool = args.connect.connect()?;
    sqlx::query(SET_PAUSED)
        .bind(&name)
        .bind(paused)
        .execute(&pool)
        .await?;
    say(if paused {
        format!("{name} is paused; `projector resume {name}` lets it go on")
    } else {
        format!("{name} goes on")
    })
}
