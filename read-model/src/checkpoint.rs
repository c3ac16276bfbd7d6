//! How far a projection has come, as its readers see it. The active generation is joined in SQL,
//! never remembered, and a read takes checkpoints and rows in one statement: one snapshot.

use events::{Address, ConsistencyToken, Partition, TenantId, TokenEntry};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// The parked keys of one partition of one generation, each with its first parked position, and the
/// version of that set in the same snapshot; one row without a key when nothing is parked.
pub const PARKED: &str = "\
    select c.parked_version, p.tenant_id, p.routing_key, min(p.position) as position
    from projection.checkpoint c
    left join projection.parked p
      on p.projection = c.projection and p.generation = c.generation
     and p.partition = c.partition and p.discarded_at is null
    where c.projection = $1 and c.generation = $2 and c.partition = $3
    group by c.parked_version, p.tenant_id, p.routing_key";

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
    /// The position that rows of the same snapshot are true as of; partitions without any event are
    /// left out.
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

/// Reads the columns `partition, incarnation, position, parked_version`.
/// # Errors
/// When a column is not what it should be.
pub fn read(row: &PgRow) -> sqlx::Result<Checkpoint> {
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

/// What is parked in a partition, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedSet {
    /// The generation whose partition it is.
    pub generation: i32,
    /// [`Checkpoint::parked_version`] at that moment.
    pub version: i64,
    /// The keys; the engine bounds them.
    pub keys: Vec<ParkedKey>,
}

impl ParkedSet {
    /// The first parked position of a key.
    #[must_use]
    pub fn of_key(&self, tenant: &TenantId, routing_key: &str) -> Option<i64> {
        let of_tenant = self.keys.iter().filter(|key| key.tenant == tenant.as_str());
        let of_key = of_tenant.filter(|key| key.routing_key == routing_key);
        of_key.map(|key| key.position).min()
    }

    /// The first parked position of any key of a tenant.
    #[must_use]
    pub fn of_tenant(&self, tenant: &TenantId) -> Option<i64> {
        let of_tenant = self.keys.iter().filter(|key| key.tenant == tenant.as_str());
        of_tenant.map(|key| key.position).min()
    }
}

/// The parked keys of a partition of a generation.
///
/// # Errors
/// What the database says.
pub async fn parked(
    connection: &mut PgConnection,
    projection: &str,
    generation: i32,
    partition: Partition,
) -> sqlx::Result<ParkedSet> {
    let rows = sqlx::query(PARKED)
        .bind(projection)
        .bind(generation)
        .bind(partition.as_i32())
        .fetch_all(connection)
        .await?;
    let mut set = ParkedSet {
        generation,
        ..ParkedSet::default()
    };
    for row in rows {
        set.version = row.try_get("parked_version")?;
        let tenant: Option<String> = row.try_get("tenant_id")?;
        let routing_key: Option<String> = row.try_get("routing_key")?;
        if let (Some(tenant), Some(routing_key)) = (tenant, routing_key) {
            set.keys.push(ParkedKey {
                tenant,
                routing_key,
                position: row.try_get("position")?,
            });
        }
    }
    Ok(set)
}
