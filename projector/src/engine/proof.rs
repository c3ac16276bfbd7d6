//! What proves that a cursor missed nothing and took nothing twice: a count and a digest of all
//! that it has passed, kept in the transaction that moves it. Rebuilds keep one.

use event_store::digest::Digest;
use events::{EventRef, RecordedEvent};
use sqlx::{PgConnection, PgExecutor, Row};

use super::checkpoint::CheckpointKey;

const SAVE: &str = "
insert into projection.rebuild_slice (projection, generation, partition, position, applied, digest)
values ($1, $2, $3, $4, $5, $6)
on conflict (projection, generation, partition) do update
set position = excluded.position, applied = excluded.applied, digest = excluded.digest";

const READ: &str = "
select s.applied, s.digest
from projection.rebuild_slice as s
join projection.checkpoint as c using (projection, generation, partition, position)
where projection = $1 and generation = $2 and partition = $3";

/// Of the events 1 to a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Those that were applied and not parked.
    pub(crate) applied: i64,
    /// Of all of them.
    pub(crate) digest: Digest,
}

impl Proof {
    /// The proof after more events, of which so many were applied.
    pub(crate) fn after(mut self, events: &[RecordedEvent], applied: usize) -> Self {
        self.applied += i64::try_from(applied).unwrap_or(i64::MAX);
        events
            .iter()
            .for_each(|event| self.digest.add_recorded(event));
        self
    }

    /// Adds one more event, which was applied.
    pub(crate) fn add_applied(&mut self, event: EventRef<'_>) {
        self.applied += 1;
        self.digest.add_borrowed(event);
    }

    /// Keeps it.
    pub(crate) async fn save(
        self,
        connection: &mut PgConnection,
        key: CheckpointKey,
        position: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(SAVE)
            .bind(key.projection)
            .bind(key.generation)
            .bind(key.partition.as_i32())
            .bind(position)
            .bind(self.applied)
            .bind(&self.digest.to_bytes()[..])
            .execute(connection)
            .await?;
        Ok(())
    }

    /// What was kept at the checkpoint, if it stands where the checkpoint does.
    pub(crate) async fn read(
        executor: impl PgExecutor<'_>,
        key: CheckpointKey,
    ) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query(READ)
            .bind(key.projection)
            .bind(key.generation)
            .bind(key.partition.as_i32())
            .fetch_optional(executor)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let digest = Digest::from_bytes(row.try_get(1)?);
        Ok(Some(Self {
            applied: row.try_get(0)?,
            digest: digest.ok_or_else(|| sqlx::Error::Decode("a digest has 16 bytes".into()))?,
        }))
    }
}
