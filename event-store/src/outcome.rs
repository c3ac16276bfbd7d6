//! What an idempotency key remembers, and the sweep of what has expired.

use sqlx::types::Json;
use sqlx::{PgPool, Row};

use crate::entry::{Answer, OutcomeKey, StoredOutcome};
use crate::key_hash::outcome_partition;
use events::{Address, ConsistencyToken, PartitionCount, Scope};

/// How many expired outcomes one statement of the sweep deletes.
pub(crate) const SWEEP_ROWS_MAX: i64 = 500;

const FIND_OUTCOME: &str = "
select fingerprint, outcome
from event_store.command_outcome
where partition = $1 and tenant_id = $2 and principal = $3 and route = $4 and idempotency_key = $5
    and outcome is not null";

/// Rows that a command is just answering from are locked and stay for the next sweep.
const SWEEP_OUTCOMES: &str = "
delete from event_store.command_outcome
where ctid = any(array(
    select ctid
    from event_store.command_outcome
    where expires_at < now()
    order by expires_at
    limit $1
    for update skip locked
))";

impl StoredOutcome {
    /// The answer as it is stored: completed by what only the append knows.
    pub(crate) fn of(answer: &Answer, at: Option<(i32, Address, i64)>) -> Self {
        Self {
            status: answer.status,
            code: answer.code.map(str::to_owned),
            id: answer.id.clone(),
            version: at.map(|(_, _, version)| version),
            token: at.map(|(incarnation, address, _)| {
                ConsistencyToken::of(incarnation, address).to_string()
            }),
        }
    }
}

/// A stored answer with the fingerprint of the request that got it.
pub(crate) async fn find(
    pool: &PgPool,
    count: PartitionCount,
    scope: &Scope,
    key: &OutcomeKey,
) -> Result<Option<([u8; 32], StoredOutcome)>, sqlx::Error> {
    let partition = outcome_partition(scope.tenant.as_str(), key, count);
    let row = sqlx::query(FIND_OUTCOME)
        .bind(partition.as_i32())
        .bind(scope.tenant.as_str())
        .bind(&key.principal)
        .bind(key.route)
        .bind(&key.key)
        .fetch_optional(pool)
        .await?;
    row.map(|row| {
        let Json(outcome) = row.try_get(1)?;
        Ok((row.try_get(0)?, outcome))
    })
    .transpose()
}

/// Deletes one small batch of expired answers; fewer than [`SWEEP_ROWS_MAX`] means that none are
/// left.
pub(crate) async fn sweep(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(SWEEP_OUTCOMES)
        .bind(SWEEP_ROWS_MAX)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}
