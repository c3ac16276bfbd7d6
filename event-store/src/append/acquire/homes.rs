//! Homes of streams whose id does not contain their routing key: the row makes such an id unique
//! over all partitions.

use std::collections::BTreeMap;

use events::{Partition, StreamId};
use sqlx::Row as _;

use super::same_order;
use crate::append::candidate::Candidate;
use crate::append::columns::Columns;
use crate::append::connection::LaneConnection;
use crate::append::failure::Failure;
use crate::append::judge::{Home, Overlay};
use crate::key_hash::LockKey;

/// A placeholder points to partition -1 until the judge has spoken.
const ACQUIRE: &str = "
insert into event_store.stream_home as held
    (partition, aggregate_type, name, stream_partition, routing_key)
select partition, aggregate_type, name, -1, ''
from unnest($1, $2, $3) with ordinality as asked(partition, aggregate_type, name, n)
order by n
on conflict (partition, aggregate_type, name) do update set routing_key = held.routing_key
returning name, stream_partition";

const SETTLE: &str = "
with unused as (
    delete from event_store.stream_home as held
    using unnest($1, $2, $3) as gone(partition, aggregate_type, name)
    where held.partition = gone.partition and held.aggregate_type = gone.aggregate_type
        and held.name = gone.name
)
update event_store.stream_home as held
set stream_partition = made.stream_partition, routing_key = made.routing_key
from unnest($4, $5, $6, $7, $8)
    as made(partition, aggregate_type, name, stream_partition, routing_key)
where held.partition = made.partition and held.aggregate_type = made.aggregate_type
    and held.name = made.name";

#[derive(Debug)]
struct Row<'a> {
    partition: Partition,
    stream: &'a StreamId,
    key: LockKey,
    /// Whether it is a placeholder of this batch.
    fresh: bool,
}

/// The homes that a batch would make.
#[derive(Debug)]
pub(super) struct Homes<'a>(Vec<Row<'a>>);

impl<'a> Homes<'a> {
    pub(super) fn of(candidates: &[&'a Candidate]) -> Self {
        let mut rows = BTreeMap::new();
        for candidate in candidates {
            for (write, homed) in candidate.entry.writes.iter().zip(&candidate.homes) {
                let Some(homed) = homed else { continue };
                let stream = &write.stream;
                let id = (homed.partition, stream.aggregate_type, stream.name());
                rows.entry(id).or_insert(Row {
                    partition: homed.partition,
                    stream,
                    key: homed.key,
                    fresh: false,
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
            let same_key = held_row.try_get::<&str, _>(0)? == row.stream.name();
            same_order(held.len(), held.len(), same_key)?;
            row.fresh = held_row.try_get::<i32, _>(1)? < 0;
            let home = if row.fresh { Home::Free } else { Home::Taken };
            overlay.homes.insert(row.key, home);
        }
        same_order(held.len(), self.0.len(), true)
    }

    pub(super) fn is_changed(&self, overlay: &Overlay) -> bool {
        self.0.iter().any(|row| made(overlay, row).is_some())
    }

    pub(super) async fn settle(
        &self,
        connection: &mut LaneConnection,
        overlay: &Overlay,
    ) -> Result<(), Failure> {
        let mut unused = Vec::new();
        let mut settled = Vec::new();
        let mut homes = Vec::new();
        for row in self.0.iter().filter(|row| row.fresh) {
            match made(overlay, row) {
                Some(home) => {
                    settled.push(row);
                    homes.push(home);
                }
                None => unused.push(row),
            }
        }
        if unused.is_empty() && settled.is_empty() {
            return Ok(());
        }
        let unused = keys(Columns::of(&unused))?.arguments();
        let settled = keys(Columns::after(unused, &settled))?.arguments();
        let arguments = Columns::after(settled, &homes)
            .int4(|(partition, _)| partition.as_i32())?
            .text(|(_, routing_key)| routing_key)?
            .arguments();
        connection.run(SETTLE, arguments).await.map(drop)
    }
}

/// Where the judge put the stream, if it is one of this batch.
fn made<'o>(overlay: &'o Overlay, row: &Row<'_>) -> Option<(Partition, &'o str)> {
    match overlay.homes.get(&row.key)? {
        Home::Made {
            partition,
            routing_key,
        } => Some((*partition, routing_key)),
        Home::Free | Home::Taken => None,
    }
}

/// The columns of the primary key.
fn keys<'c, 'a>(
    columns: Columns<'c, &'a Row<'a>>,
) -> Result<Columns<'c, &'a Row<'a>>, sqlx::Error> {
    columns
        .int4(|row| row.partition.as_i32())?
        .text(|row| row.stream.aggregate_type)?
        .name(|row| row.stream)
}
