//! How far a projection has come, as its readers see it. The active generation is joined in SQL, never remembered: what a
//! statement answers is true of the rows that the same connection reads afterwards.

use events::{Address, ConsistencyToken, Partition, TokenEntry};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// The checkpoints of the active generation.
pub const ACTIVE: &str = "\
    select g.generation, g.revision, c.partition, c.incarnation, c.position, c.parked_version
    from projection.generation g
    join projection.checkpoint c
      on c.projection = g.projection and c.generation = g.generation
    where g.projection = $1 and g.state = 'active'
    order by c.partition";

/// The parked keys of one partition of one generation, each with its first parked position.
pub const PARKED: &str = "\
    select tenant_id, routing_key, min(position) as position
    from projection.parked
    where projection = $1 and generation = $2 and partition = $3 and discarded_at is null
    group by tenant_id, routing_key";

/// One partition's checkpoint: what the rows homed there contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The partition.
    pub partition: Partition,
    /// The incarnation of the store in which it was last moved.
    pub incarnation: i32,
    /// The last position that was applied or parked.
    pub position: i64,
    /// Changes with the partition's set of parked keys.
    pub parked_version: i64,
}

impl Checkpoint {
    /// The same as an entry of a token.
    #[must_use]
    pub fn entry(&self) -> TokenEntry {
        TokenEntry {
            incarnation: self.incarnation,
            address: self.address(),
        }
    }

    /// The address of the last event.
    #[must_use]
    pub fn address(&self) -> Address {
        Address {
            partition: self.partition,
            position: self.position,
        }
    }
}

/// A generation that is served and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The active generation.
    pub generation: i32,
    /// The revision of the fold that filled it.
    pub revision: i32,
    /// By partition number; a point read knows one of them only.
    pub checkpoints: Vec<Checkpoint>,
}

impl Standing {
    /// The position that rows read afterwards are true as of; partitions without any event are left out.
    #[must_use]
    pub fn as_of(&self) -> ConsistencyToken {
        let begun = self.checkpoints.iter().filter(|one| one.position > 0);
        ConsistencyToken::new(begun.map(Checkpoint::entry).collect())
    }

    /// The partition's checkpoint.
    #[must_use]
    pub fn of(&self, partition: Partition) -> Option<&Checkpoint> {
        self.checkpoints
            .iter()
            .find(|one| one.partition == partition)
    }
}

/// The standing of `projection`; none while no generation of it is served.
///
/// # Errors
/// What the database says.
pub async fn active(
    connection: &mut PgConnection,
    projection: &str,
) -> sqlx::Result<Option<Standing>> {
    let rows = sqlx::query(ACTIVE)
        .bind(projection)
        .fetch_all(connection)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Standing {
        generation: first.try_get("generation")?,
        revision: first.try_get("revision")?,
        checkpoints: rows.iter().map(read).collect::<sqlx::Result<_>>()?,
    }))
}

/// Reads the columns `partition, incarnation, position, parked_version`.
pub(crate) fn read(row: &PgRow) -> sqlx::Result<Checkpoint> {
    let partition: i32 = row.try_get("partition")?;
    let decode = |source| sqlx::Error::ColumnDecode {
        index: "partition".to_owned(),
        source: Box::new(source),
    };
    Ok(Checkpoint {
        partition: Partition::try_from(partition).map_err(decode)?,
        incarnation: row.try_get("incarnation")?,
        position: row.try_get("position")?,
        parked_version: row.try_get("parked_version")?,
    })
}

/// A routing key whose events wait for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedKey {
    /// The tenant, as text.
    pub tenant: String,
    /// The routing key.
    pub routing_key: String,
    /// The first of its events that was not applied.
    pub position: i64,
}

/// The parked keys of a partition; the engine bounds them.
///
/// # Errors
/// What the database says.
pub async fn parked(
    connection: &mut PgConnection,
    projection: &str,
    generation: i32,
    partition: Partition,
) -> sqlx::Result<Vec<ParkedKey>> {
    let rows = sqlx::query(PARKED)
        .bind(projection)
        .bind(generation)
        .bind(partition.as_i32())
        .fetch_all(connection)
        .await?;
    let read = |row: PgRow| {
        Ok(ParkedKey {
            tenant: row.try_get("tenant_id")?,
            routing_key: row.try_get("routing_key")?,
            position: row.try_get("position")?,
        })
    };
    rows.into_iter().map(read).collect()
}
