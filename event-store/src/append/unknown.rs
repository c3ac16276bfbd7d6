//! What became of a commit whose answer was lost.
//!
//! On a new connection the same heads are locked: whoever holds them has seen the old transaction
//! end. Then the event at the batch's first address tells: ours means that all of the batch is
//! there; anything else means that none of it ever will be. Without the lock the look-up would
//! answer wrongly while the old commit hangs.

use std::time::Duration;

use events::Address;
use sqlx::Arguments;
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnectOptions};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::batch::Judged;
use super::connection::LaneConnection;
use super::failure::Failure;

/// How long the truth is looked for.
const RESOLVE_MAX: Duration = Duration::from_secs(5);

/// Between two looks.
const RESOLVE_REST: Duration = Duration::from_millis(50);

const READ_EVENT_ID: &str =
    "select event_id from event_store.event where partition = $1 and position = $2";

/// The truth, with the connection that it was learned on.
#[derive(Debug)]
pub(super) enum Resolution {
    /// All of the batch is durable.
    Committed(LaneConnection),
    /// None of the batch is there, and none ever will be; or it wrote no event, and its keys decide
    /// when it runs again.
    NotCommitted(LaneConnection),
    /// The store could not be asked in time.
    Unresolved,
}

pub(super) async fn resolve(options: &PgConnectOptions, judged: &Judged) -> Resolution {
    let deadline = Instant::now() + RESOLVE_MAX;
    loop {
        match timeout_at(deadline, look(options, judged)).await {
            Ok(Ok((connection, true))) => return Resolution::Committed(connection),
            Ok(Ok((connection, false))) => return Resolution::NotCommitted(connection),
            Ok(Err(failure)) => {
                tracing::debug!(error = %failure, "the truth about a commit is not known yet");
                if Instant::now() + RESOLVE_REST >= deadline {
                    return Resolution::Unresolved;
                }
                sleep(RESOLVE_REST).await;
            }
            Err(_) => return Resolution::Unresolved,
        }
    }
}

async fn look(
    options: &PgConnectOptions,
    judged: &Judged,
) -> Result<(LaneConnection, bool), Failure> {
    let mut connection = LaneConnection::open(options).await?;
    connection.lock_heads(&judged.partitions()).await?;
    let committed = match judged.first_event() {
        Some((address, event_id)) => event_at(&mut connection, address).await? == Some(event_id),
        None => false,
    };
    if committed {
        // Locking has written, so this commit waits for a synchronous standby as the lost one did.
        // What is seen here may not have reached it, when the session that waited was ended.
        connection.commit().await?;
    } else {
        connection.rollback().await?;
    }
    Ok((connection, committed))
}

async fn event_at(
    connection: &mut LaneConnection,
    address: Address,
) -> Result<Option<Uuid>, Failure> {
    let mut arguments = PgArguments::default();
    arguments
        .add(address.partition.as_i32())
        .map_err(sqlx::Error::Encode)?;
    arguments
        .add(address.position)
        .map_err(sqlx::Error::Encode)?;
    let rows = connection.rows(READ_EVENT_ID, arguments).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
