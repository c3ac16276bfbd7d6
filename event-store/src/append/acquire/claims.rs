//! Claims: those that a batch takes and those that it releases are locked alike, in one sorted
//! statement.

use std::collections::BTreeMap;

use events::Partition;
use sqlx::Row as _;

use super::same_order;
use crate::append::candidate::Candidate;
use crate::append::columns::{BYTEA, Columns, SMALLINT};
use crate::append::connection::LaneConnection;
use crate::append::failure::Failure;
use crate::append::judge::Overlay;
use crate::entry::Claim;
use crate::key_hash::LockKey;

const ACQUIRE: &str = "
insert into event_store.claim as held (partition, tenant_id, kind, key_hash, key_version, owner)
select partition, tenant_id, kind, key_hash, key_version, ''
from unnest($1, $2, $3, $4, $5) with ordinality
    as asked(partition, tenant_id, kind, key_hash, key_version, n)
order by n
on conflict (partition, tenant_id, kind, key_hash) do update set owner = held.owner
returning key_hash, owner";

const SETTLE: &str = "
with released as (
    delete from event_store.claim as held
    using unnest($1, $2, $3, $4, $5) as gone(partition, tenant_id, kind, key_hash, key_version)
    where held.partition = gone.partition and held.tenant_id = gone.tenant_id
        and held.kind = gone.kind and held.key_hash = gone.key_hash
)
update event_store.claim as held
set owner = taken.owner, key_version = taken.key_version
from unnest($6, $7, $8, $9, $10, $11)
    as taken(partition, tenant_id, kind, key_hash, key_version, owner)
where held.partition = taken.partition and held.tenant_id = taken.tenant_id
    and held.kind = taken.kind and held.key_hash = taken.key_hash";

#[derive(Debug)]
struct Row<'a> {
    partition: Partition,
    tenant: &'a str,
    claim: &'a Claim,
    key: LockKey,
    /// Who held it before the batch; nobody: it is a placeholder.
    owner: Option<String>,
}

/// The claims of a batch.
#[derive(Debug)]
pub(super) struct Claims<'a>(Vec<Row<'a>>);

impl<'a> Claims<'a> {
    pub(super) fn of(candidates: &[&'a Candidate]) -> Self {
        let mut rows = BTreeMap::new();
        for candidate in candidates {
            let entry = &candidate.entry;
            let tenant = entry.scope.tenant.as_str();
            let takes = entry.take.iter().zip(&candidate.take);
            let releases = entry.release.iter().zip(&candidate.release);
            for (claim, homed) in takes.chain(releases) {
                let id = (homed.partition, tenant, claim.kind, &claim.key_hash);
                rows.entry(id).or_insert(Row {
                    partition: homed.partition,
                    tenant,
                    claim,
                    key: homed.key,
                    owner: None,
                });
            }
        }
        Self(rows.into_values().collect())
    }

    pub(super) async fn acquire(
        &mut self,
        connection: &mut LaneConnection,
        overlay: &mut Overlay,
    ) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.0.iter().collect();
        let arguments = keys(Columns::of(&rows))?.arguments();
        let held = connection.rows(ACQUIRE, arguments).await?;
        for (row, held_row) in self.0.iter_mut().zip(&held) {
            let same_key = held_row.try_get::<&[u8], _>(0)? == row.claim.key_hash;
            same_order(held.len(), held.len(), same_key)?;
            let owner: String = held_row.try_get(1)?;
            row.owner = (!owner.is_empty()).then_some(owner);
            overlay.claims.insert(row.key, row.owner.clone());
        }
        same_order(held.len(), self.0.len(), true)
    }

    pub(super) fn is_changed(&self, overlay: &Overlay) -> bool {
        let mut rows = self.0.iter();
        rows.any(|row| owner_in(overlay, row) != row.owner.as_ref())
    }

    pub(super) async fn settle(
        &self,
        connection: &mut LaneConnection,
        overlay: &Overlay,
    ) -> Result<(), Failure> {
        let mut gone = Vec::new();
        let mut taken = Vec::new();
        let mut owners = Vec::new();
        for row in &self.0 {
            match owner_in(overlay, row) {
                None => gone.push(row),
                Some(owner) if row.owner.as_ref() != Some(owner) => {
                    taken.push(row);
                    owners.push(owner);
                }
                Some(_) => {}
            }
        }
        if gone.is_empty() && taken.is_empty() {
            return Ok(());
        }
        let gone = keys(Columns::of(&gone))?.arguments();
        let taken = keys(Columns::after(gone, &taken))?.arguments();
        let arguments = Columns::after(taken, &owners)
            .text(|owner| owner)?
            .arguments();
        connection.run(SETTLE, arguments).await.map(drop)
    }
}

fn owner_in<'o>(overlay: &'o Overlay, row: &Row<'_>) -> Option<&'o String> {
    overlay.claims.get(&row.key)?.as_ref()
}

/// The columns of the primary key, and the key version.
fn keys<'c, 'a>(
    columns: Columns<'c, &'a Row<'a>>,
) -> Result<Columns<'c, &'a Row<'a>>, sqlx::Error> {
    columns
        .int4(|row| row.partition.as_i32())?
        .text(|row| row.tenant)?
        .text(|row| row.claim.kind)?
        .bytes(BYTEA, |row| &row.claim.key_hash)?
        .column(SMALLINT, |row, bytes| {
            bytes.extend_from_slice(&row.claim.key_version.to_be_bytes());
        })
}
