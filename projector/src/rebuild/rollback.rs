//! `projector rollback`: what was shown before is shown again. Daemons have fed it all the while.

use std::time::{Duration, Instant};

use read_model::projection::Projection;
use sqlx::PgPool;

use super::verify::is_lock_timeout;
use crate::engine::generation::{self, Generations, State};
use crate::engine::switch::{BEGIN_SWITCH, Made, Switch};

/// How long to let readers and daemons go on before it is tried again.
const AGAIN_WAIT: Duration = Duration::from_millis(50);

const READ_NEWEST: &str = "
select generation
from projection.generation
where projection = $1 and state = 'standby'
order by activated_at desc nulls last, generation desc
limit 1";

const FIND_BEHIND: &str = "
select string_agg(format('%s (%s of %s)', next.partition, next.position, shown.position), ', '
    order by next.partition)
from projection.checkpoint as shown
join projection.checkpoint as next using (projection, partition)
where projection = $1 and shown.generation = $2 and next.generation = $3
    and next.position < shown.position";

/// From which generation to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// Shown until then.
    pub from: i32,
    /// Shown now.
    pub to: i32,
}

/// Why nothing was switched.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Nothing is shown.
    #[error("nothing is shown yet")]
    NothingShown,
    /// There is no generation on standby.
    #[error("there is no generation on standby that could be shown; `projector status` lists them")]
    NoStandby,
    /// The one that was asked for is not on standby.
    #[error("generation {0} is not on standby; `projector status` lists those that are")]
    NotStandby(i32),
    /// It did not come up to what is shown.
    #[error(
        "generation {to} did not come up to what is shown at partitions {behind}: no live daemon \
         feeds its revision, or it cannot keep up"
    )]
    Behind {
        /// The generation.
        to: i32,
        /// Where, and how far.
        behind: String,
    },
    /// Readers held the view.
    #[error("no moment for the switch was found: readers hold the view")]
    NoMoment,
    /// Somebody else switched, or dropped what was to be shown.
    #[error(
        "another generation was shown meanwhile, or generation {to} was dropped; \
         `projector status` lists them"
    )]
    Overtaken {
        /// The generation.
        to: i32,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Shows generation `to`, or the one that was shown last.
///
/// # Errors
/// [`RollbackError`]; nothing was switched then.
pub async fn rollback(
    pool: &PgPool,
    projection: &dyn Projection,
    to: Option<i32>,
    patience: Duration,
) -> Result<RolledBack, RollbackError> {
    let name = projection.name();
    let known = generation::read(pool, name).await?;
    let from = known.active().ok_or(RollbackError::NothingShown)?.number;
    let to = match to {
        Some(to) if is_standby(&known, to) => to,
        Some(to) => return Err(RollbackError::NotStandby(to)),
        None => sqlx::query_scalar(READ_NEWEST)
            .bind(name)
            .fetch_optional(pool)
            .await?
            .ok_or(RollbackError::NoStandby)?,
    };
    let tables = projection.tables();
    let switch = Switch {
        projection: name,
        tables: &tables,
        shown: Some(from),
        next: to,
        proven: None,
    };
    let begun = Instant::now();
    loop {
        match attempt(pool, switch).await? {
            Made::Yes => return Ok(RolledBack { from, to }),
            Made::Overtaken => return Err(RollbackError::Overtaken { to }),
            Made::NotYet => {}
        }
        if begun.elapsed() > patience {
            let behind: Option<String> = sqlx::query_scalar(FIND_BEHIND)
                .bind(name)
                .bind(from)
                .bind(to)
                .fetch_one(pool)
                .await?;
            let error = behind.map(|behind| RollbackError::Behind { to, behind });
            return Err(error.unwrap_or(RollbackError::NoMoment));
        }
        tokio::time::sleep(AGAIN_WAIT).await;
    }
}

fn is_standby(known: &Generations, number: i32) -> bool {
    let mut of_number = known.0.iter().filter(|g| g.number == number);
    of_number.any(|g| g.state == State::Standby)
}

async fn attempt(pool: &PgPool, switch: Switch<'_>) -> Result<Made, sqlx::Error> {
    let mut transaction = pool.begin_with(BEGIN_SWITCH).await?;
    let made = match switch.make(&mut transaction).await {
        Err(error) if is_lock_timeout(&error) => Made::NotYet,
        made => made?,
    };
    if made == Made::Yes {
        transaction.commit().await?;
        switch.tell();
    } else {
        transaction.rollback().await?;
    }
    Ok(made)
}
