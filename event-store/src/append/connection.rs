//! A lane's connection: outside every pool, guarded against plans made on empty tables and against
//! a server that hangs.

use std::fmt::Write as _;
use std::time::Duration;

use events::Partition;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use tokio::time::timeout;

use super::failure::Failure;
use super::judge::HeadState;
use crate::digest::Digest;
use crate::incarnation;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Longer than every time-out of the server: past it the server or the way to it is gone.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(6);

/// Plans are generic and use indexes whatever the statistics say: prepared on empty tables they
/// would stay bad. A session that hangs in a transaction ends after 1 s and frees its locks; a
/// waiter outlives it, with its 3 s. The server notices a client that is gone within 5 s. The clock
/// is read after the lock, hence the materialised part of `lock_heads`.
const SETUP: &str = "
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off;
set enable_hashjoin = off;
set enable_mergejoin = off;
set jit = off;
set idle_in_transaction_session_timeout = '1s';
set lock_timeout = '3s';
set statement_timeout = '5s';
set tcp_keepalives_idle = 5;
set tcp_keepalives_interval = 1;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 5000;
prepare lock_heads(integer[]) as
with locked as materialized (
    select partition, incarnation, position, digest, recorded_at
    from event_store.partition_head
    where partition = any($1)
    order by partition
    for update
)
select
    partition, incarnation, position, digest,
    (extract(epoch from greatest(clock_timestamp(), recorded_at)) * 1000000)::bigint
from locked;
prepare bump(integer[], bigint[], bytea[], timestamptz[]) as
update event_store.partition_head as head
set position = moved.position, digest = moved.digest, recorded_at = moved.recorded_at
from unnest($1, $2, $3, $4) as moved(partition, position, digest, recorded_at)
where head.partition = moved.partition";

/// The heads of a batch as they stand under the lock.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) incarnation: i32,
    /// Ascending by partition.
    pub(super) heads: Vec<HeadState>,
}

/// An open connection of a lane.
#[derive(Debug)]
pub(super) struct LaneConnection(PgConnection);

impl LaneConnection {
    /// Connects, checks which history the server holds, and begins the next incarnation when it is
    /// another one.
    pub(super) async fn open(options: &PgConnectOptions) -> Result<Self, Failure> {
        let options = options
            .clone()
            .application_name("runnel-append")
            .disable_statement_logging();
        let mut connection = bounded(CONNECT_MAX, async { Ok(options.connect().await?) }).await?;
        bounded(ROUND_TRIP_MAX, async {
            Ok(connection.execute(SETUP).await?)
        })
        .await?;
        bounded(ROUND_TRIP_MAX, async {
            Ok(incarnation::enter(&mut connection).await?)
        })
        .await?;
        Ok(Self(connection))
    }

    /// Begins a transaction and locks the heads of `partitions` (ascending): one round trip.
    pub(super) async fn lock_heads(&mut self, partitions: &[Partition]) -> Result<Locked, Failure> {
        let mut sql = String::with_capacity(160);
        sql.push_str("begin isolation level read committed; set local synchronous_commit = on; execute lock_heads('{");
        push_list(&mut sql, partitions.iter());
        sql.push_str("}')");
        let rows = self.simple(&sql).await?;
        if rows.len() != partitions.len() {
            return Err(Failure::Nonsense("a partition has no head"));
        }
        let incarnation = rows
            .first()
            .map(|row| row.try_get(1))
            .transpose()?
            .unwrap_or_default();
        let heads = rows.iter().map(head).collect::<Result<_, _>>()?;
        Ok(Locked { incarnation, heads })
    }

    /// Moves the heads and commits: one round trip.
    pub(super) async fn bump_and_commit(&mut self, heads: &[HeadState]) -> Result<(), Failure> {
        let mut sql = String::with_capacity(64 + 96 * heads.len());
        sql.push_str("execute bump('{");
        push_list(&mut sql, heads.iter().map(|head| head.partition));
        sql.push_str("}', '{");
        push_list(&mut sql, heads.iter().map(|head| head.position));
        sql.push_str("}', '{");
        push_list(
            &mut sql,
            heads.iter().map(|head| format!("\"\\\\x{}\"", head.digest)),
        );
        sql.push_str("}', '{");
        push_list(
            &mut sql,
            heads.iter().map(|head| timestamp(head.recorded_at)),
        );
        sql.push_str("}'); commit");
        self.simple(&sql).await.map(drop)
    }

    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        self.simple("commit").await.map(drop)
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Failure> {
        self.simple("rollback").await.map(drop)
    }

    /// Runs a prepared statement and takes all its rows.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        let query = sqlx::query_with(sql, arguments);
        bounded(ROUND_TRIP_MAX, async { Ok(self.0.fetch_all(query).await?) }).await
    }

    /// Runs a prepared statement.
    pub(super) async fn run(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<u64, Failure> {
        let query = sqlx::query_with(sql, arguments);
        let done = bounded(ROUND_TRIP_MAX, async { Ok(self.0.execute(query).await?) }).await?;
        Ok(done.rows_affected())
    }

    /// Runs a string of statements by the simple protocol: one round trip, whatever their number.
    async fn simple(&mut self, sql: &str) -> Result<Vec<PgRow>, Failure> {
        bounded(ROUND_TRIP_MAX, async { Ok(self.0.fetch_all(sql).await?) }).await
    }
}

/// A round trip that takes too long ends with the connection: the future is dropped in the middle,
/// so the caller must never use the connection again.
async fn bounded<T>(
    limit: Duration,
    round_trip: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, round_trip)
        .await
        .unwrap_or(Err(Failure::Silent(limit)))
}

fn head(row: &PgRow) -> Result<HeadState, Failure> {
    let partition: i32 = row.try_get(0)?;
    let digest: Vec<u8> = row.try_get(3)?;
    Ok(HeadState {
        partition: Partition::try_from(partition)
            .map_err(|_| Failure::Nonsense("a partition's number"))?,
        position: row.try_get(2)?,
        digest: Digest::from_bytes(&digest).ok_or(Failure::Nonsense("a digest's length"))?,
        recorded_at: row.try_get(4)?,
    })
}

fn push_list(sql: &mut String, values: impl Iterator<Item = impl std::fmt::Display>) {
    for (index, value) in values.enumerate() {
        let joint = if index == 0 { "" } else { "," };
        // Writing into a `String` cannot fail.
        let _ = write!(sql, "{joint}{value}");
    }
}

fn timestamp(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
