//! The dumps: what stands at rest in tables, topic and cache.

use anyhow::Context as _;
use chaos::history::{Checkpoint, Folder, Head, IncarnationLine, RowLine};
use testkit::pipeline::{EventLog, view};

use super::system::System;
use super::{cache, topic};

const INCARNATIONS: &str = "select number, heads from event_store.incarnation order by number";

const CHECKPOINTS: &str = "
select checkpoint.partition, checkpoint.incarnation, checkpoint.position
from projection.checkpoint
join projection.generation g using (projection, generation)
where projection = 'user_view' and g.state = 'active'
order by partition";

/// Takes all of them.
pub(super) async fn take(system: &System, folder: &Folder) -> anyhow::Result<()> {
    let pool = &system.pool;
    let log = EventLog::read(pool).await.context("the event table")?;
    folder.dump("events", &log.entries)?;
    let heads = log.heads.iter().map(|(partition, position)| Head {
        partition: *partition,
        position: *position,
    });
    folder.dump("heads", &heads.collect::<Vec<_>>())?;
    let incarnations: Vec<(i32, Vec<i64>)> = sqlx::query_as(INCARNATIONS).fetch_all(pool).await?;
    let incarnations = incarnations.into_iter();
    let incarnations = incarnations.map(|(number, heads)| IncarnationLine { number, heads });
    folder.dump("incarnations", &incarnations.collect::<Vec<_>>())?;
    let rows = view::rows(pool).await.context("the view")?.into_iter();
    let rows = rows.map(|((tenant, id), row)| RowLine { tenant, id, row });
    folder.dump("rows", &rows.collect::<Vec<_>>())?;
    let checkpoints: Vec<(i32, i32, i64)> = sqlx::query_as(CHECKPOINTS).fetch_all(pool).await?;
    let checkpoints = checkpoints
        .into_iter()
        .map(|(partition, incarnation, position)| Checkpoint {
            partition,
            incarnation,
            position,
        });
    folder.dump("checkpoints", &checkpoints.collect::<Vec<_>>())?;
    if let Some(redis) = &system.redis {
        folder.dump("cached", &cache::dump(redis.address()).await?)?;
    }
    if let Some((_, topic)) = &system.kafka {
        folder.dump("kafka", &topic::dump(topic, &log).await?)?;
    }
    Ok(())
}
