//! How a verb that only looks or repairs reaches the database.

use clap::{Args as _, Command, FromArgMatches as _};
use platform::config::{DatabaseArgs, Problems};
use platform::database::{PoolPlan, pool};
use sqlx::PgPool;

use crate::application::checked_incarnation;

/// One connection to work on, one to read events on meanwhile.
const CONNECTIONS: u32 = 2;

/// Where the database is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub(super) struct ConnectArgs {
    /// postgres://user:password@host:port/database; when unset, RUNNEL_HOME/env is read
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds DATABASE_URL
    #[arg(long, env = "DATABASE_URL_FILE")]
    database_url_file: Option<String>,
    /// The folder of `runnel up`
    #[arg(long, env = "RUNNEL_HOME", default_value = ".runnel")]
    runnel_home: String,
}

impl ConnectArgs {
    /// A small pool without time-outs on its statements: an operator waits as long as it takes.
    pub(super) fn connect(self) -> anyhow::Result<PgPool> {
        self.connect_with(PoolPlan::unhurried("projector-cli", CONNECTIONS))
    }

    /// A larger one, whose connections refuse a server that is not the primary of this history.
    pub(super) fn connect_to_build(self, connections: u32) -> anyhow::Result<PgPool> {
        let plan = PoolPlan::unhurried("projector-rebuild", connections);
        self.connect_with(plan.after_connect(checked_incarnation()))
    }

    fn connect_with(self, plan: PoolPlan) -> anyhow::Result<PgPool> {
        // The other settings of a database are a daemon's; here they have their defaults.
        let defaults = DatabaseArgs::augment_args(Command::new("defaults").no_binary_name(true));
        let matches = defaults.try_get_matches_from(std::iter::empty::<&str>())?;
        let args = DatabaseArgs {
            database_url: self.database_url,
            database_url_file: self.database_url_file,
            ..DatabaseArgs::from_arg_matches(&matches)?
        };
        let mut problems = Problems::default();
        let settings = args.validate(&mut problems);
        problems.check_or_exit();
        Ok(pool(&settings, plan)?)
    }
}
