//! Which history of the store a server holds.
//!
//! After the failover to an asynchronous replica, or a restore, the store gives addresses out a
//! second time. Whoever connects compares the server's system identifier and WAL timeline with the
//! newest row of `event_store.incarnation`; when they differ, a lane begins another incarnation
//! with the heads as they are, and everybody else waits for that row.

use events::{Incarnation, IncarnationLog};
use sqlx::{Connection, PgConnection, PgExecutor, PgPool, Row};

/// The timeline is taken from the current WAL file's name, not from `pg_control_checkpoint()`,
/// which lags behind a promotion.
const READ_SERVER: &str = "
select
    pg_is_in_recovery(),
    (select system_identifier from pg_control_system()),
    case when not pg_is_in_recovery()
        then ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
    end";

const READ_NEWEST: &str = "
select number, system_identifier, timeline
from event_store.incarnation
order by number desc
limit 1";

const READ_LOG: &str = "select number, heads from event_store.incarnation order by number";

const LOCK_ALL_HEADS: &str =
    "select position from event_store.partition_head order by partition for update";

const ADD_INCARNATION: &str = "
insert into event_store.incarnation (number, system_identifier, timeline, heads)
values ($1, $2, $3, $4)";

const MARK_HEADS: &str = "update event_store.partition_head set incarnation = $1";

/// The history that a server holds, as far as the server itself can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// Made by initdb; another cluster has another one.
    pub system_identifier: i64,
    /// Raised by every promotion and point-in-time recovery.
    pub timeline: i32,
}

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IncarnationError {
    /// A standby: it may be behind, and it cannot be written.
    #[error("the server is in recovery")]
    InRecovery,
    /// The store moved to another server or history, and no appender has begun the next incarnation
    /// yet.
    #[error("the server holds another history than the store's newest incarnation")]
    OtherHistory,
    /// The database failed.
    #[error("reading the server's identity failed")]
    Database(#[from] sqlx::Error),
}

/// Checks a fresh connection and returns the number of the incarnation; for `after_connect` of
/// every pool that loads state.
///
/// # Errors
/// [`IncarnationError`]: do not use the connection.
pub async fn check_connection(connection: &mut PgConnection) -> Result<i32, IncarnationError> {
    let server = read_server(connection).await?;
    let (number, known) = read_newest(connection).await?;
    if known == server {
        Ok(number)
    } else {
        Err(IncarnationError::OtherHistory)
    }
}

/// The same for a process that appends: when the history is another one, the next incarnation
/// begins here. Its pools must do so as its lanes do, because a process that starts after the
/// failover has no lane yet.
///
/// # Errors
/// [`IncarnationError`]: do not use the connection.
pub async fn enter(connection: &mut PgConnection) -> Result<i32, IncarnationError> {
    match check_connection(connection).await {
        Err(IncarnationError::OtherHistory) => begin_next(connection, false, 0).await,
        checked => checked,
    }
}

/// Begins the next incarnation by hand, whatever the server says: after a disk snapshot was put
/// back or the schema was restored from a dump. `above` is the greatest number known to have been
/// handed out (0 when nothing is known): a restored store cannot know of incarnations that it lost.
///
/// # Errors
/// [`IncarnationError::InRecovery`], [`IncarnationError::Database`].
pub async fn fork(pool: &PgPool, above: i32) -> Result<i32, IncarnationError> {
    let mut connection = pool.acquire().await?;
    begin_next(&mut connection, true, above).await
}

/// Every incarnation, oldest first.
///
/// # Errors
/// The database's, also when there is no row.
pub async fn load_log(executor: impl PgExecutor<'_>) -> Result<IncarnationLog, sqlx::Error> {
    let rows = sqlx::query(READ_LOG).fetch_all(executor).await?;
    let rows = rows
        .iter()
        .map(|row| {
            Ok(Incarnation {
                number: row.try_get(0)?,
                heads: row.try_get(1)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    IncarnationLog::new(rows).ok_or(sqlx::Error::RowNotFound)
}

/// Under the locks of all heads nobody appends, so the heads are what the next incarnation begins
/// with.
async fn begin_next(
    connection: &mut PgConnection,
    by_hand: bool,
    above: i32,
) -> Result<i32, IncarnationError> {
    let server = read_server(connection).await?;
    let mut transaction = connection.begin().await?;
    let heads: Vec<i64> = sqlx::query_scalar(LOCK_ALL_HEADS)
        .fetch_all(&mut *transaction)
        .await?;
    let (newest, known) = read_newest(&mut transaction).await?;
    if known == server && !by_hand {
        transaction.rollback().await?;
        return Ok(newest);
    }
    let number = newest.max(above) + 1;
    add(&mut transaction, number, server, &heads).await?;
    transaction.commit().await?;
    tracing::warn!(
        number,
        timeline = server.timeline,
        "the store began incarnation {number}: what was said above its heads before is void"
    );
    Ok(number)
}

pub(crate) async fn add(
    connection: &mut PgConnection,
    number: i32,
    server: ServerIdentity,
    heads: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query(ADD_INCARNATION)
        .bind(number)
        .bind(server.system_identifier)
        .bind(server.timeline)
        .bind(heads)
        .execute(&mut *connection)
        .await?;
    sqlx::query(MARK_HEADS)
        .bind(number)
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn read_server(
    connection: &mut PgConnection,
) -> Result<ServerIdentity, IncarnationError> {
    let row = sqlx::query(READ_SERVER).fetch_one(connection).await?;
    let timeline: Option<i32> = row.try_get(2)?;
    Ok(ServerIdentity {
        system_identifier: row.try_get(1)?,
        timeline: timeline.ok_or(IncarnationError::InRecovery)?,
    })
}

async fn read_newest(connection: &mut PgConnection) -> Result<(i32, ServerIdentity), sqlx::Error> {
    let row = sqlx::query(READ_NEWEST).fetch_one(connection).await?;
    let identity = ServerIdentity {
        system_identifier: row.try_get(1)?,
        timeline: row.try_get(2)?,
    };
    Ok((row.try_get(0)?, identity))
}
