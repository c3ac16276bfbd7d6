//! Idempotency keys: locked, and decided by the judge.

use std::collections::BTreeMap;

use events::Partition;
use sqlx::Row as _;
use sqlx::types::Json;

use super::same_order;
use crate::append::candidate::Candidate;
use crate::append::columns::{BYTEA, Columns, JSON};
use crate::append::connection::LaneConnection;
use crate::append::failure::Failure;
use crate::append::judge::{Overlay, Remembered};
use crate::entry::KeyedOutcome;
use crate::key_hash::LockKey;

const ACQUIRE: &str = "
insert into event_store.command_outcome as held
    (partition, tenant_id, principal, route, idempotency_key, fingerprint, expires_at)
select partition, tenant_id, principal, route, idempotency_key, fingerprint, expires_at
from unnest($1, $2, $3, $4, $5, $6, $7) with ordinality
    as asked(partition, tenant_id, principal, route, idempotency_key, fingerprint, expires_at, n)
order by n
on conflict (partition, tenant_id, principal, route, idempotency_key)
    do update set fingerprint = held.fingerprint
returning idempotency_key, fingerprint, outcome";

const SETTLE: &str = "
with undecided as (
    delete from event_store.command_outcome as held
    using unnest($1, $2, $3, $4, $5)
        as gone(partition, tenant_id, principal, route, idempotency_key)
    where held.partition = gone.partition and held.tenant_id = gone.tenant_id
        and held.principal = gone.principal and held.route = gone.route
        and held.idempotency_key = gone.idempotency_key
)
update event_store.command_outcome as held
set fingerprint = decided.fingerprint, outcome = decided.outcome
from unnest($6, $7, $8, $9, $10, $11, $12)
    as decided(partition, tenant_id, principal, route, idempotency_key, fingerprint, outcome)
where held.partition = decided.partition and held.tenant_id = decided.tenant_id
    and held.principal = decided.principal and held.route = decided.route
    and held.idempotency_key = decided.idempotency_key";

#[derive(Debug)]
struct Row<'a> {
    partition: Partition,
    tenant: &'a str,
    keyed: &'a KeyedOutcome,
    key: LockKey,
    /// Whether it is a placeholder of this batch.
    fresh: bool,
}

/// The idempotency keys of a batch.
#[derive(Debug)]
pub(super) struct Outcomes<'a>(Vec<Row<'a>>);

impl<'a> Outcomes<'a> {
    pub(super) fn of(candidates: &[&'a Candidate]) -> Self {
        let mut rows = BTreeMap::new();
        for candidate in candidates {
            let Some(keyed) = &candidate.entry.outcome else {
                continue;
            };
            let Some(homed) = candidate.outcome else {
                continue;
            };
            let tenant = candidate.entry.scope.tenant.as_str();
            let id = &keyed.key;
            let id = (homed.partition, tenant, &id.principal, id.route, &id.key);
            rows.entry(id).or_insert(Row {
                partition: homed.partition,
                tenant,
                keyed,
                key: homed.key,
                fresh: false,
            });
        }
        Self(rows.into_values().collect())
    }

    pub(super) async fn acquire(
        &mut self,
        connection: &mut LaneConnection,
        overlay: &mut Overlay,
        expires_at: i64,
    ) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.0.iter().collect();
        let arguments = keys(Columns::of(&rows))?
            .bytes(BYTEA, |row| &row.keyed.fingerprint)?
            .time(|_| expires_at)?
            .arguments();
        let held = connection.rows(ACQUIRE, arguments).await?;
        for (row, held_row) in self.0.iter_mut().zip(&held) {
            let same_key = held_row.try_get::<&str, _>(0)? == row.keyed.key.key;
            same_order(held.len(), held.len(), same_key)?;
            let outcome: Option<Json<_>> = held_row.try_get(2)?;
            row.fresh = outcome.is_none();
            let fingerprint = held_row.try_get(1)?;
            let remembered = outcome.map(|Json(outcome)| Remembered {
                fingerprint,
                outcome,
            });
            overlay.outcomes.insert(row.key, remembered);
        }
        same_order(held.len(), self.0.len(), true)
    }

    pub(super) fn is_changed(&self, overlay: &Overlay) -> bool {
        let mut fresh = self.0.iter().filter(|row| row.fresh);
        fresh.any(|row| decision(row, overlay).is_some())
    }

    pub(super) async fn settle(
        &self,
        connection: &mut LaneConnection,
        overlay: &Overlay,
    ) -> Result<(), Failure> {
        let mut gone = Vec::new();
        let mut decided = Vec::new();
        let mut made = Vec::new();
        for row in self.0.iter().filter(|row| row.fresh) {
            match decision(row, overlay) {
                Some(decision) => {
                    decided.push(row);
                    made.push((decision.fingerprint, json(decision)?));
                }
                None => gone.push(row),
            }
        }
        if gone.is_empty() && decided.is_empty() {
            return Ok(());
        }
        let gone = keys(Columns::of(&gone))?.arguments();
        let decided = keys(Columns::after(gone, &decided))?.arguments();
        let arguments = Columns::after(decided, &made)
            .bytes(BYTEA, |(fingerprint, _)| fingerprint)?
            .bytes(JSON, |(_, json)| json)?
            .arguments();
        connection.run(SETTLE, arguments).await.map(drop)
    }
}

fn decision<'o>(row: &Row<'_>, overlay: &'o Overlay) -> Option<&'o Remembered> {
    overlay.outcomes.get(&row.key)?.as_ref()
}

fn json(made: &Remembered) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(&made.outcome).map_err(|_| Failure::Nonsense("an outcome that is no JSON"))
}

/// The columns of the primary key.
fn keys<'c, 'a>(
    columns: Columns<'c, &'a Row<'a>>,
) -> Result<Columns<'c, &'a Row<'a>>, sqlx::Error> {
    columns
        .int4(|row| row.partition.as_i32())?
        .text(|row| row.tenant)?
        .text(|row| &row.keyed.key.principal)?
        .text(|row| row.keyed.key.route)?
        .text(|row| &row.keyed.key.key)
}
