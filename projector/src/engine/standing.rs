//! How far every projection has come: what `projector status` shows and the lag metrics say.

use events::Partition;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row};

/// The lag in seconds is the age of the first event that was not applied, by the database's clock.
const READ: &str = "
select g.projection, g.generation, g.revision, g.state, c.partition, c.incarnation, c.position,
    h.position,
    greatest(h.position - c.position, 0),
    greatest(coalesce(extract(epoch from clock_timestamp() - e.recorded_at), 0), 0)::float8,
    (select count(distinct (p.tenant_id, p.routing_key))
        from projection.parked as p
        where p.projection = c.projection and p.generation = c.generation
            and p.partition = c.partition and p.discarded_at is null),
    g.state <> 'building' and l.owner is not null and l.expires_at > clock_timestamp(),
    coalesce(o.paused, false),
    case when c.kafka_offset is null then 'postgres' else 'kafka' end,
    g.state <> 'building' and exists (
        select from projection.daemon as d
        where d.projection = g.projection and d.revision = g.revision
            and d.expires_at > clock_timestamp())
from projection.generation as g
join projection.checkpoint as c using (projection, generation)
join event_store.partition_head as h using (partition)
left join event_store.event as e on e.partition = c.partition and e.position = c.position + 1
left join projection.lease as l
    on l.projection = g.projection and l.revision = g.revision and l.partition = c.partition
left join projection.control as o on o.projection = g.projection
where g.state <> 'void' and ($1::text is null or g.projection = $1)
order by g.projection, g.generation, c.partition";

/// One partition of one generation of one projection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The projection.
    pub projection: String,
    /// The generation.
    pub generation: i32,
    /// The revision of the fold that fills it.
    pub revision: i32,
    /// `active`, `filling`, `building` or `standby`.
    pub state: String,
    /// The partition.
    pub partition: u16,
    /// The incarnation of the store in which the checkpoint was last moved.
    pub incarnation: i32,
    /// The last event that was applied or parked.
    pub position: i64,
    /// The partition's newest event.
    pub head: i64,
    /// Events between the two.
    pub lag_events: i64,
    /// The age of the first event that was not applied, in seconds.
    pub lag_seconds: f64,
    /// Routing keys that are parked.
    pub parked_keys: i64,
    /// Whether a live daemon feeds it.
    pub fed: bool,
    /// Whether there is a live daemon that could feed it, because it has the generation's revision.
    pub feedable: bool,
    /// Whether an operator has paused the projection.
    pub paused: bool,
    /// Who gave the last batch: `kafka` or `postgres`.
    pub source: String,
}

/// Reads how far `projection` has come, or every projection.
///
/// # Errors
/// The database's.
pub async fn read(
    executor: impl PgExecutor<'_>,
    projection: Option<&str>,
) -> Result<Vec<Standing>, sqlx::Error> {
    let rows = sqlx::query(READ)
        .bind(projection)
        .fetch_all(executor)
        .await?;
    rows.iter().map(standing).collect()
}

/// How much of what there is a generation holds, 0 to 1; none of a generation that is not there.
pub(crate) fn progress<'s>(of: impl Iterator<Item = &'s Standing>) -> Option<f64> {
    let sum =
        |(position, head, _), one: &Standing| (position + one.position, head + one.head, true);
    let (position, head, is_there) = of.fold((0_i64, 0_i64, false), sum);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = position as f64 / head.max(1) as f64;
    is_there.then_some(ratio.min(1.0))
}

fn standing(row: &PgRow) -> Result<Standing, sqlx::Error> {
    let partition = Partition::try_from(row.try_get::<i32, _>(4)?)
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Standing {
        projection: row.try_get(0)?,
        generation: row.try_get(1)?,
        revision: row.try_get(2)?,
        state: row.try_get(3)?,
        partition: partition.0,
        incarnation: row.try_get(5)?,
        position: row.try_get(6)?,
        head: row.try_get(7)?,
        lag_events: row.try_get(8)?,
        lag_seconds: row.try_get(9)?,
        parked_keys: row.try_get(10)?,
        fed: row.try_get(11)?,
        feedable: row.try_get(14)?,
        paused: row.try_get(12)?,
        source: row.try_get(13)?,
    })
}
