//! Who relays which partition: rows, by the database's clock, shared fairly among the processes
//! that live. A lease says who should work; what a process that lost its lease still sends are
//! duplicates, which every reader drops, and the epoch keeps it from moving the lower bound.

use std::collections::BTreeMap;
use std::time::Duration;

use events::Partition;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Row};
use tokio::time::Instant;
use uuid::Uuid;

/// A lease as its holder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) epoch: i64,
    /// By this process's clock, and on the safe side: counted from before the database was asked.
    pub(super) until: Instant,
    /// The refill that was asked for and not done; 0 when there is none.
    pub(super) refill: i64,
}

/// What this process holds.
pub(super) type Held = BTreeMap<Partition, Lease>;

/// How far a partition has been relayed, in which incarnation, under which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) partition: Partition,
    pub(super) epoch: i64,
    pub(super) incarnation: i32,
    pub(super) position: i64,
}

const ANNOUNCE: &str = "
insert into event_store.relay_node (owner, expires_at) values ($1, clock_timestamp() + $2)
on conflict (owner) do update set expires_at = excluded.expires_at";

const FORGET_DEAD: &str = "
delete from event_store.relay_node where expires_at < clock_timestamp() - interval '1 minute'";

const RANK: &str = "
select count(*) filter (where owner < $1), count(*)
from event_store.relay_node
where owner = $1 or expires_at > clock_timestamp()";

/// One that ran out and was taken by nobody is still ours.
const RENEW: &str = "
update event_store.relay_lease
set expires_at = clock_timestamp() + $2
where owner = $1
returning partition, epoch, case when refill_asked > refill_done then refill_asked else 0 end";

const TAKE: &str = "
update event_store.relay_lease as lease
set owner = $1, epoch = lease.epoch + 1, expires_at = clock_timestamp() + $2
from (
    select partition from event_store.relay_lease
    where owner is null or expires_at < clock_timestamp()
    order by partition
    limit $3
    for update skip locked
) as free
where lease.partition = free.partition
returning lease.partition, lease.epoch,
    case when lease.refill_asked > lease.refill_done then lease.refill_asked else 0 end";

const RELEASE: &str = "
update event_store.relay_lease
set owner = null, expires_at = 'epoch'
where owner = $1 and partition = any($2)";

const LEAVE: &str = "delete from event_store.relay_node where owner = $1";

const READ_BOUND: &str = "
select incarnation, relayed_position from event_store.relay_lease where partition = $1";

const WRITE_MARKS: &str = "
update event_store.relay_lease as lease
set incarnation = mark.incarnation, relayed_position = mark.position
from unnest($2, $3, $4, $5) as mark(partition, epoch, incarnation, position)
where lease.partition = mark.partition and lease.owner = $1 and lease.epoch = mark.epoch";

const REFILL_DONE: &str = "
update event_store.relay_lease
set refill_done = $4
where partition = $1 and owner = $2 and epoch = $3";

/// The leases of one store, as one process asks for them.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    pub(super) pool: PgPool,
    pub(super) owner: Uuid,
    pub(super) length: Duration,
    pub(super) partitions: u16,
}

impl Leases {
    /// Says that this process lives, renews what it holds, gives up what is above its share and
    /// takes what is free below it.
    pub(super) async fn tend(&self) -> Result<Held, sqlx::Error> {
        let length = interval(self.length);
        sqlx::query(ANNOUNCE)
            .bind(self.owner)
            .bind(length)
            .execute(&self.pool)
            .await?;
        sqlx::query(FORGET_DEAD).execute(&self.pool).await?;
        let until = Instant::now() + self.length;
        let renew = sqlx::query(RENEW)
            .bind(self.owner)
            .bind(interval(self.length));
        let mut held = Held::new();
        for row in renew.fetch_all(&self.pool).await? {
            let (partition, lease) = lease(&row, until)?;
            held.insert(partition, lease);
        }
        let share = self.share().await?;
        if held.len() > share {
            let excess: Vec<_> = held.keys().copied().skip(share).collect();
            self.release(&excess).await?;
            held.retain(|partition, _| !excess.contains(partition));
        } else if held.len() < share {
            self.take(share - held.len(), &mut held).await?;
        }
        Ok(held)
    }

    async fn share(&self) -> Result<usize, sqlx::Error> {
        let rank = sqlx::query_as(RANK).bind(self.owner);
        let (rank, nodes): (i64, i64) = rank.fetch_one(&self.pool).await?;
        Ok(fair_share(i64::from(self.partitions), rank, nodes))
    }

    async fn take(&self, count: usize, held: &mut Held) -> Result<(), sqlx::Error> {
        let until = Instant::now() + self.length;
        let take = sqlx::query(TAKE)
            .bind(self.owner)
            .bind(interval(self.length))
            .bind(i64::try_from(count).unwrap_or(i64::MAX));
        for row in take.fetch_all(&self.pool).await? {
            let (partition, lease) = lease(&row, until)?;
            tracing::info!(
                partition = partition.0,
                epoch = lease.epoch,
                "relays partition {} from now on",
                partition.0
            );
            held.insert(partition, lease);
        }
        Ok(())
    }

    /// Hands leases over: they are free at once.
    pub(super) async fn release(&self, partitions: &[Partition]) -> Result<(), sqlx::Error> {
        let release = sqlx::query(RELEASE)
            .bind(self.owner)
            .bind(numbers(partitions));
        release.execute(&self.pool).await?;
        Ok(())
    }

    /// Leaves the circle of those that live, and hands over what is held.
    pub(super) async fn leave(&self, partitions: &[Partition]) -> Result<(), sqlx::Error> {
        sqlx::query(LEAVE)
            .bind(self.owner)
            .execute(&self.pool)
            .await?;
        self.release(partitions).await
    }

    /// The stored lower bound: incarnation and position.
    pub(super) async fn bound(&self, partition: Partition) -> Result<(i32, i64), sqlx::Error> {
        let bound = sqlx::query_as(READ_BOUND).bind(partition.as_i32());
        bound.fetch_one(&self.pool).await
    }

    /// Moves the lower bounds of those partitions that are still this process's.
    pub(super) async fn write_marks(&self, marks: &[Mark]) -> Result<u64, sqlx::Error> {
        if marks.is_empty() {
            return Ok(0);
        }
        let column = |value: fn(&Mark) -> i64| marks.iter().map(value).collect::<Vec<_>>();
        let write = sqlx::query(WRITE_MARKS)
            .bind(self.owner)
            .bind(
                marks
                    .iter()
                    .map(|mark| mark.partition.as_i32())
                    .collect::<Vec<_>>(),
            )
            .bind(column(|mark| mark.epoch))
            .bind(
                marks
                    .iter()
                    .map(|mark| mark.incarnation)
                    .collect::<Vec<_>>(),
            )
            .bind(column(|mark| mark.position));
        Ok(write.execute(&self.pool).await?.rows_affected())
    }

    /// Says that the refill which was asked for has been begun.
    pub(super) async fn refill_done(
        &self,
        partition: Partition,
        lease: Lease,
    ) -> Result<(), sqlx::Error> {
        let done = sqlx::query(REFILL_DONE)
            .bind(partition.as_i32())
            .bind(self.owner)
            .bind(lease.epoch)
            .bind(lease.refill);
        done.execute(&self.pool).await?;
        Ok(())
    }
}

fn lease(row: &sqlx::postgres::PgRow, until: Instant) -> Result<(Partition, Lease), sqlx::Error> {
    let partition: i32 = row.try_get(0)?;
    let partition =
        Partition::try_from(partition).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let lease = Lease {
        epoch: row.try_get(1)?,
        until,
        refill: row.try_get(2)?,
    };
    Ok((partition, lease))
}

fn numbers(partitions: &[Partition]) -> Vec<i32> {
    partitions
        .iter()
        .map(|partition| partition.as_i32())
        .collect()
}

/// The shares of all ranks add up to all partitions, and no two differ by more than one.
fn fair_share(partitions: i64, rank: i64, nodes: i64) -> usize {
    let nodes = nodes.max(1);
    let share = partitions / nodes + i64::from(rank < partitions % nodes);
    usize::try_from(share).unwrap_or(0)
}

fn interval(length: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(length.as_micros()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::fair_share;

    #[test]
    fn the_shares_add_up_to_all_partitions_and_differ_by_at_most_one() {
        for partitions in 1..=16 {
            for nodes in 1..=20 {
                let shares: Vec<_> = (0..nodes)
                    .map(|rank| fair_share(partitions, rank, nodes))
                    .collect();
                assert_eq!(
                    i64::try_from(shares.iter().sum::<usize>()).unwrap(),
                    partitions
                );
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                assert!(most - least <= 1, "{partitions} over {nodes}: {shares:?}");
            }
        }
    }
}
