//! `projector gc`: generations that nobody will show again are dropped.

use std::time::{Duration, Instant};

use read_model::projection::Projection;
use sqlx::PgPool;

use super::error::RebuildError;
use super::lease::RebuildLease;
use super::verify::is_lock_timeout;
use crate::engine::generation::{self, State};
use crate::engine::switch::{NOTIFY, identifier};

/// Held until it has run out or this process is done; each drop locks it, so that no rebuild can
/// take it up meanwhile.
const LEASE: Duration = Duration::from_secs(60);

/// A daemon's batch and readers of the old tables are waited for shortly, because the daemon then
/// waits behind the drop, and so often.
const BEGIN_DROP: &str = "begin; set local lock_timeout = '100ms'; \
    set local idle_in_transaction_session_timeout = '2s'";
const AGAIN_WAIT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(30);

const LOCK_GENERATION: &str = "
select true
from projection.generation
where projection = $1 and generation = $2 and state in ('building', 'standby', 'void')
for update";

/// The checkpoints first: a daemon's batch begins with its own, so it is either over, or finds
/// none.
const LOCK_CHECKPOINTS: &str = "
select position
from projection.checkpoint
where projection = $1 and generation = $2
order by partition
for update";

const DELETE_PARKED: &str = "
delete from projection.parked where projection = $1 and generation = $2";

const DELETE_CHECKPOINTS: &str = "
delete from projection.checkpoint where projection = $1 and generation = $2";

/// The row stays, so that the number is never given again: cache keys carry it.
const MARK_DROPPED: &str = "
update projection.generation set state = 'dropped' where projection = $1 and generation = $2";

const READ_LAST_STANDBY: &str = "
select generation
from projection.generation
where projection = $1 and state = 'standby'
order by activated_at desc nulls last, generation desc
limit 1";

/// A generation that can go, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// The generation.
    pub generation: i32,
    /// `void`, `standby` or `abandoned`.
    pub state: &'static str,
}

/// The generation that `projector rollback` would show.
///
/// # Errors
/// The database's.
pub async fn last_standby(
    pool: &PgPool,
    projection: &dyn Projection,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar(READ_LAST_STANDBY)
        .bind(projection.name())
        .fetch_optional(pool)
        .await
}

/// What can go: what the store lost, what a dead rebuild left, and what is on standby; of the last
/// all but the one that `projector rollback` would show, unless `with_last_standby`.
///
/// # Errors
/// The database's.
pub async fn find(
    pool: &PgPool,
    projection: &dyn Projection,
    with_last_standby: bool,
) -> Result<Vec<Garbage>, sqlx::Error> {
    let last = last_standby(pool, projection).await?;
    let known = generation::read(pool, projection.name()).await?;
    let garbage = known.0.iter().filter_map(|g| {
        let is_kept = !with_last_standby && last == Some(g.number);
        let state = match g.state {
            State::Void => "void",
            State::Abandoned => "abandoned",
            State::Standby if !is_kept => "standby",
            _ => return None,
        };
        Some(Garbage {
            generation: g.number,
            state,
        })
    });
    Ok(garbage.collect())
}

/// Drops what was found. `tell` hears of each one whether it was dropped: what is shown again
/// meanwhile is not, and what is gone already is not dropped twice.
///
/// # Errors
/// [`RebuildError::Busy`] when a rebuild runs; the database's.
pub async fn drop_all(
    pool: &PgPool,
    projection: &'static dyn Projection,
    garbage: &[Garbage],
    mut tell: impl FnMut(Garbage, bool),
) -> Result<(), RebuildError> {
    let lease = RebuildLease::take(pool, projection.name(), LEASE).await?;
    let mut ended = Ok(());
    for &one in garbage {
        match drop_generation(pool, &lease, projection, one.generation).await {
            Ok(dropped) => tell(one, dropped),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    lease.release(pool).await;
    ended
}

/// Drops one generation, unless it is shown, filled or gone; whether it did. The caller holds the
/// rebuild's lease.
pub(super) async fn drop_generation(
    pool: &PgPool,
    lease: &RebuildLease,
    projection: &dyn Projection,
    generation: i32,
) -> Result<bool, RebuildError> {
    let begun = Instant::now();
    loop {
        match try_drop(pool, lease, projection, generation).await {
            Err(RebuildError::Database(error))
                if is_lock_timeout(&error) && begun.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(AGAIN_WAIT).await;
            }
            dropped => return dropped,
        }
    }
}

async fn try_drop(
    pool: &PgPool,
    lease: &RebuildLease,
    projection: &dyn Projection,
    generation: i32,
) -> Result<bool, RebuildError> {
    let name = projection.name();
    let mut transaction = pool.begin_with(BEGIN_DROP).await?;
    lease.lock(&mut transaction).await?;
    let may: Option<bool> = sqlx::query_scalar(LOCK_GENERATION)
        .bind(name)
        .bind(generation)
        .fetch_optional(&mut *transaction)
        .await?;
    if may.is_none() {
        transaction.rollback().await?;
        return Ok(false);
    }
    for statement in [
        LOCK_CHECKPOINTS,
        DELETE_PARKED,
        DELETE_CHECKPOINTS,
        MARK_DROPPED,
    ] {
        let query = sqlx::query(statement).bind(name).bind(generation);
        query.execute(&mut *transaction).await?;
    }
    for table in projection.tables() {
        let table = identifier(table)?;
        let drop = format!("drop table if exists read_model.{table}_g{generation}");
        sqlx::query(&drop).execute(&mut *transaction).await?;
    }
    let notify = sqlx::query(NOTIFY).bind(name);
    notify.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
}
