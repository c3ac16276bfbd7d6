//! Who feeds which partition. Leases are rows, by the database's clock: no process needs a clock
//! that agrees with another's. A lease only says who should work; that two never write is the work
//! of the epoch in the checkpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use events::Partition;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Row};
use uuid::Uuid;

/// The projection and revision that leases are about, and who asks for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseScope {
    pub(crate) projection: &'static str,
    pub(crate) revision: i32,
    pub(crate) owner: Uuid,
    pub(crate) length: Duration,
}

/// Epoch by partition.
pub(crate) type Held = BTreeMap<Partition, i64>;

const CREATE: &str = "
insert into projection.lease (partition, projection, revision)
select partition, $1, $2 from generate_series(0, $3 - 1) as partition
on conflict do nothing";

const ANNOUNCE: &str = "
insert into projection.daemon (projection, revision, owner, expires_at)
values ($1, $2, $3, clock_timestamp() + $4)
on conflict (projection, revision, owner) do update set expires_at = excluded.expires_at";

const FORGET_DEAD: &str = "
delete from projection.daemon
where projection = $1 and revision = $2 and expires_at < clock_timestamp() - interval '1 minute'";

/// Rank of this daemon among the live ones, and how many there are.
const RANK: &str = "
select count(*) filter (where owner < $3), count(*)
from projection.daemon
where projection = $1 and revision = $2 and (owner = $3 or expires_at > clock_timestamp())";

/// A lease that ran out and was taken by nobody is still ours: its epoch is the one in the
/// checkpoints.
const RENEW: &str = "
update projection.lease
set expires_at = clock_timestamp() + $4
where projection = $1 and revision = $2 and owner = $3
returning partition, epoch";

const FREE: &str = "
select partition
from projection.lease
where projection = $1 and revision = $2 and (owner is null or expires_at < clock_timestamp())
order by partition";

const TAKE: &str = "
update projection.lease
set owner = $3, epoch = epoch + 1, expires_at = clock_timestamp() + $4
where projection = $1 and revision = $2 and partition = $5
    and (owner is null or expires_at < clock_timestamp())
returning epoch";

/// In the transaction of TAKE: from its commit on the former owner's fence finds no row. What a
/// rebuild fills is the rebuild's.
const FENCE: &str = "
update projection.checkpoint as c
set epoch = $4
from projection.generation as g
where g.projection = $1 and g.revision = $2 and g.state <> 'building'
    and c.projection = g.projection and c.generation = g.generation and c.partition = $3";

const RELEASE: &str = "
with released as (
    update projection.lease
    set owner = null, expires_at = '-infinity'
    where projection = $1 and revision = $2 and owner = $3 and partition = any($4)
    returning partition
)
select count(*), pg_notify('projection_control', $1) from released having count(*) > 0";

const LEAVE: &str = "
delete from projection.daemon where projection = $1 and revision = $2 and owner = $3";

/// Makes the leases of a store with `partitions` partitions.
pub(crate) async fn create(
    pool: &PgPool,
    scope: LeaseScope,
    partitions: u16,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(CREATE)
        .bind(scope.projection)
        .bind(scope.revision);
    query.bind(i32::from(partitions)).execute(pool).await?;
    Ok(())
}

/// Says that this daemon lives, renews what it holds, gives up what is above its share and takes
/// what is free below it.
pub(crate) async fn tend(
    pool: &PgPool,
    scope: LeaseScope,
    partitions: u16,
) -> Result<Held, sqlx::Error> {
    announce(pool, scope).await?;
    let mut held = renew(pool, scope).await?;
    let share = share_of(pool, scope, partitions).await?;
    if held.len() > share {
        let excess: Vec<_> = held
            .keys()
            .rev()
            .take(held.len() - share)
            .copied()
            .collect();
        release(pool, scope, &excess).await?;
        for partition in excess {
            held.remove(&partition);
        }
    } else if held.len() < share {
        take_free(pool, scope, (share, partitions), &mut held).await?;
    }
    Ok(held)
}

async fn announce(pool: &PgPool, scope: LeaseScope) -> Result<(), sqlx::Error> {
    sqlx::query(ANNOUNCE)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .bind(interval(scope.length))
        .execute(pool)
        .await?;
    let query = sqlx::query(FORGET_DEAD)
        .bind(scope.projection)
        .bind(scope.revision);
    query.execute(pool).await?;
    Ok(())
}

async fn renew(pool: &PgPool, scope: LeaseScope) -> Result<Held, sqlx::Error> {
    let rows = sqlx::query(RENEW)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .bind(interval(scope.length))
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((partition(row.try_get(0)?)?, row.try_get(1)?)))
        .collect()
}

async fn share_of(pool: &PgPool, scope: LeaseScope, partitions: u16) -> Result<usize, sqlx::Error> {
    let (rank, daemons): (i64, i64) = sqlx::query_as(RANK)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .fetch_one(pool)
        .await?;
    Ok(fair_share(i64::from(partitions), rank, daemons))
}

/// The shares of all ranks add up to all partitions, and no two differ by more than one.
fn fair_share(partitions: i64, rank: i64, daemons: i64) -> usize {
    let daemons = daemons.max(1);
    let share = partitions / daemons + i64::from(rank < partitions % daemons);
    usize::try_from(share).unwrap_or(0)
}

async fn take_free(
    pool: &PgPool,
    scope: LeaseScope,
    (share, partitions): (usize, u16),
    held: &mut Held,
) -> Result<(), sqlx::Error> {
    let free: Vec<i32> = sqlx::query_scalar(FREE)
        .bind(scope.projection)
        .bind(scope.revision)
        .fetch_all(pool)
        .await?;
    let before = held.len();
    for number in free {
        if held.len() >= share {
            break;
        }
        let partition = partition(number)?;
        match take(pool, scope, partition).await {
            Ok(Some(epoch)) => {
                held.insert(partition, epoch);
            }
            Ok(None) => {}
            // A paused owner may still hold the lock of one checkpoint; that must not keep the
            // others from moving.
            Err(error) => tracing::warn!(
                projection = scope.projection,
                partition = partition.0,
                error = %error,
                "the lease of partition {partition} could not be taken; it is tried again"
            ),
        }
    }
    if held.len() > before {
        tracing::info!(
            projection = scope.projection,
            revision = scope.revision,
            taken = held.len() - before,
            "feeding {} of {partitions} partitions of {}",
            held.len(),
            scope.projection
        );
    }
    Ok(())
}

async fn take(
    pool: &PgPool,
    scope: LeaseScope,
    partition: Partition,
) -> Result<Option<i64>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let epoch: Option<i64> = sqlx::query_scalar(TAKE)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .bind(interval(scope.length))
        .bind(partition.as_i32())
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(epoch) = epoch else {
        transaction.rollback().await?;
        return Ok(None);
    };
    sqlx::query(FENCE)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(partition.as_i32())
        .bind(epoch)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    tracing::debug!(
        projection = scope.projection,
        revision = scope.revision,
        partition = partition.0,
        epoch,
        "took the lease of partition {partition}"
    );
    Ok(Some(epoch))
}

/// Hands leases over: they are free at once, and whoever waits for one is told.
pub(crate) async fn release(
    pool: &PgPool,
    scope: LeaseScope,
    partitions: &[Partition],
) -> Result<(), sqlx::Error> {
    let numbers: Vec<i32> = partitions
        .iter()
        .map(|partition| partition.as_i32())
        .collect();
    sqlx::query(RELEASE)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .bind(numbers)
        .fetch_optional(pool)
        .await?;
    Ok(())
}

/// Hands over what is held of `partitions` and leaves the circle of live daemons.
pub(crate) async fn leave(
    pool: &PgPool,
    scope: LeaseScope,
    partitions: &[Partition],
) -> Result<(), sqlx::Error> {
    sqlx::query(LEAVE)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .execute(pool)
        .await?;
    release(pool, scope, partitions).await
}

fn interval(length: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(length.as_micros()).unwrap_or(i64::MAX),
    }
}

fn partition(number: i32) -> Result<Partition, sqlx::Error> {
    Partition::try_from(number).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_to_all_partitions_and_differ_by_at_most_one() {
        for partitions in 1..=16 {
            for daemons in 1..=20 {
                let shares: Vec<_> = (0..daemons)
                    .map(|rank| fair_share(partitions, rank, daemons))
                    .collect();
                assert_eq!(
                    shares.iter().sum::<usize>(),
                    usize::try_from(partitions).unwrap()
                );
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                assert!(most - least <= 1, "{partitions} over {daemons}: {shares:?}");
            }
        }
    }
}
