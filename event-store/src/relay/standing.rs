//! What an operator is shown of the relay, and can ask of it.

use std::time::Duration;

use events::Partition;
use serde::Serialize;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::settings::Target;
use super::topic_log::TopicLog;

const READ: &str = "
select lease.partition,
    case when lease.expires_at > clock_timestamp() then lease.owner end,
    lease.epoch, lease.incarnation, lease.relayed_position, head.position
from event_store.relay_lease as lease
join event_store.partition_head as head on head.partition = lease.partition
order by lease.partition";

const ASK_REFILL: &str = "
update event_store.relay_lease
set refill_asked = refill_asked + 1
where $1::integer is null or partition = $1
returning partition";

const READ_REFILLS: &str = "
select partition from event_store.relay_lease
where refill_done < refill_asked and ($1::integer is null or partition = $1)
order by partition";

/// How a partition's relay stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The partition.
    pub partition: i32,
    /// The process that relays it; nothing when nobody does.
    pub owner: Option<Uuid>,
    /// How often it has changed hands.
    pub epoch: i64,
    /// The incarnation of the lower bound.
    pub incarnation: i32,
    /// The lower bound: up to here Kafka has certainly acknowledged.
    pub relayed_position: i64,
    /// The store's head.
    pub head: i64,
    /// Events between the two; less are missing in Kafka, because the bound is written afterwards.
    pub lag_events: i64,
    /// The offset of the topic's first record; nothing when Kafka was not asked or did not answer.
    pub kafka_start: Option<i64>,
    /// The offset of the topic's next record.
    pub kafka_end: Option<i64>,
}

/// Why the standing is not known.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The database failed.
    #[error("the relay's leases could not be read")]
    Database(#[from] sqlx::Error),
}

/// How every partition stands; the topic's ends are read when `target` is given.
///
/// # Errors
/// [`StandingError`].
pub async fn read(pool: &PgPool, target: Option<Target>) -> Result<Vec<Standing>, StandingError> {
    let mut log = target.map(TopicLog::new);
    let mut standings = Vec::new();
    for row in sqlx::query(READ).fetch_all(pool).await? {
        let partition: i32 = row.try_get(0)?;
        let number =
            Partition::try_from(partition).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let ends = match &log {
            Some(log) => log.ends(number).await.ok(),
            None => None,
        };
        if ends.is_none() {
            // It does not answer: asking for each other partition would cost as long again.
            log = None;
        }
        let (relayed_position, head): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
        standings.push(Standing {
            partition,
            owner: row.try_get(1)?,
            epoch: row.try_get(2)?,
            incarnation: row.try_get(3)?,
            relayed_position,
            head,
            lag_events: head - relayed_position,
            kafka_start: ends.map(|ends| ends.low),
            kafka_end: ends.map(|ends| ends.high),
        });
    }
    Ok(standings)
}

/// Asks the holders of one partition's lease, or of all, to compare the topic with the store and to
/// send again what it lacks. Says which partitions were asked.
///
/// # Errors
/// The database's.
pub async fn ask_refill(pool: &PgPool, partition: Option<i32>) -> Result<Vec<i32>, sqlx::Error> {
    let asked = sqlx::query_scalar(ASK_REFILL).bind(partition);
    asked.fetch_all(pool).await
}

/// Waits until the holders have compared, and begun to send; says which have not within `patience`.
///
/// # Errors
/// The database's.
pub async fn await_refill(
    pool: &PgPool,
    partition: Option<i32>,
    patience: Duration,
) -> Result<Vec<i32>, sqlx::Error> {
    const POLL: Duration = Duration::from_millis(200);
    let begun = tokio::time::Instant::now();
    loop {
        let open = sqlx::query_scalar(READ_REFILLS).bind(partition);
        let open: Vec<i32> = open.fetch_all(pool).await?;
        if open.is_empty() || begun.elapsed() > patience {
            return Ok(open);
        }
        tokio::time::sleep(POLL).await;
    }
}
