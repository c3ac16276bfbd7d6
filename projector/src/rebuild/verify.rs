//! The comparison with what is shown: partition by partition, both at the same position, in one
//! snapshot. The new generation never goes past the live checkpoint before it was compared there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use events::Partition;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::{PgConnection, Row};

use super::Run;
use super::diff::{self, Sides};
use super::error::{RebuildError, Refusal};
use super::follow::Follower;
use super::report::{Difference, DifferenceKind, PartitionProof};
use crate::engine::switch::CATCH_UP_MAX;

/// How long to rest before another round.
const ROUND_WAIT: Duration = Duration::from_millis(100);

/// How many keys of a kind of difference are said.
const KEYS_SHOWN_MAX: usize = 20;

/// The live checkpoints are held still only for a moment, also when this process is stopped in the
/// middle, and are not waited for long either.
const BEGIN_LOCK: &str = "begin; set local lock_timeout = '1s'; \
    set local idle_in_transaction_session_timeout = '2s'";

const LOCK: &str = "
select partition, position
from projection.checkpoint
where projection = $1 and generation = $2 and partition = any($3)
order by partition
for update";

const BEGIN_SNAPSHOT: &str = "begin isolation level repeatable read, read only";

/// Others take part in the snapshot by its name.
const EXPORT_SNAPSHOT: &str = "select pg_export_snapshot()";

/// The rows of one side are to fit into it: a join that goes over files takes twice as long.
const COMPARE_MEMORY: &str = "set local work_mem = '64MB'";

/// The first statement of the snapshot.
const FIND_EQUAL: &str = "
select live.partition
from projection.checkpoint as live
join projection.checkpoint as built using (projection, partition, position)
where projection = $1 and live.generation = $2 and built.generation = $3
    and live.partition = any($4)";

impl Run<'_> {
    /// Compares every row with the one that is shown. Returns the differences, all of them allowed.
    pub(super) async fn verify(
        &self,
        followers: &mut [Follower<'_>],
    ) -> Result<Vec<Difference>, RebuildError> {
        let Some(live) = self.ground.live else {
            return Ok(Vec::new());
        };
        let sides = Sides {
            live: live.number,
            built: self.ground.generation,
        };
        let mut left: BTreeSet<i32> = followers.iter().map(|f| f.partition().as_i32()).collect();
        let mut differences = Vec::new();
        let begun = Instant::now();
        loop {
            self.come_near(followers, &left).await?;
            let equal = self
                .round(followers, &left, sides, &mut differences)
                .await?;
            left.retain(|partition| !equal.contains(partition));
            if left.is_empty() {
                break;
            }
            if begun.elapsed() > self.rebuild.settings.patience {
                return Err(self.impatient(followers, &left).await?);
            }
            tokio::time::sleep(ROUND_WAIT).await;
        }
        self.judge(differences, sides)
    }

    /// Comes up to the live checkpoints as they are, while nobody waits.
    async fn come_near(
        &self,
        followers: &mut [Follower<'_>],
        left: &BTreeSet<i32>,
    ) -> Result<(), RebuildError> {
        let live = self.ground.live_positions().await?;
        for follower in followers {
            let at = live.get(follower.partition().index());
            if let Some(&at) = at
                && left.contains(&follower.partition().as_i32())
            {
                follower.feed(at).await?;
            }
        }
        Ok(())
    }

    /// Holds the live checkpoints for a moment, comes up to exactly them, takes the snapshot, lets
    /// go, and compares. Returns the partitions that were at the same position.
    async fn round(
        &self,
        followers: &mut [Follower<'_>],
        left: &BTreeSet<i32>,
        sides: Sides,
        differences: &mut Vec<Difference>,
    ) -> Result<BTreeSet<i32>, RebuildError> {
        let pool = &self.rebuild.pool;
        let left: Vec<i32> = left.iter().copied().collect();
        let mut held = pool.begin_with(BEGIN_LOCK).await?;
        let begun = Instant::now();
        for (partition, position) in self.lock(&mut held, sides, &left).await? {
            let partition = Partition::try_from(partition)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            if begun.elapsed() < CATCH_UP_MAX {
                followers[partition.index()].feed(position).await?;
            }
        }
        let mut snapshot = pool.begin_with(BEGIN_SNAPSHOT).await?;
        let equal: Vec<i32> = sqlx::query_scalar(FIND_EQUAL)
            .bind(self.rebuild.projection.name())
            .bind(sides.live)
            .bind(sides.built)
            .bind(&left)
            .fetch_all(&mut *snapshot)
            .await?;
        held.rollback().await?;
        let found = self.compare(&mut snapshot, sides, &equal).await?;
        found.into_iter().for_each(|one| merge(differences, one));
        snapshot.rollback().await?;
        Ok(equal.into_iter().collect())
    }

    /// The differences in these partitions as `snapshot` sees them, by several sessions.
    async fn compare(
        &self,
        snapshot: &mut PgConnection,
        sides: Sides,
        partitions: &[i32],
    ) -> Result<Vec<Difference>, RebuildError> {
        let sessions = self.rebuild.settings.parallelism;
        let share = partitions.len().div_ceil(sessions).max(1);
        let name: String = sqlx::query_scalar(EXPORT_SNAPSHOT)
            .fetch_one(snapshot)
            .await?;
        let shares = partitions.chunks(share);
        let found: Vec<_> = stream::iter(shares.map(|one| self.compare_share(&name, sides, one)))
            .buffer_unordered(sessions)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn compare_share(
        &self,
        snapshot: &str,
        sides: Sides,
        partitions: &[i32],
    ) -> Result<Vec<Difference>, RebuildError> {
        let begin =
            format!("{BEGIN_SNAPSHOT}; set transaction snapshot '{snapshot}'; {COMPARE_MEMORY}");
        let mut session = self.rebuild.pool.begin_with(begin).await?;
        let mut found = Vec::new();
        for table in self.rebuild.projection.tables() {
            found.extend(diff::compare(&mut session, table, sides, partitions).await?);
        }
        session.rollback().await?;
        Ok(found)
    }

    async fn lock(
        &self,
        connection: &mut PgConnection,
        sides: Sides,
        partitions: &[i32],
    ) -> Result<Vec<(i32, i64)>, RebuildError> {
        let locked = sqlx::query(LOCK)
            .bind(self.rebuild.projection.name())
            .bind(sides.live)
            .bind(partitions)
            .fetch_all(connection)
            .await;
        match locked {
            Ok(rows) => Ok(rows
                .iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Result<_, sqlx::Error>>()?),
            // A batch of the daemon took its time: the next round.
            Err(error) if is_lock_timeout(&error) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// What did not meet, and most likely why.
    async fn impatient(
        &self,
        followers: &[Follower<'_>],
        left: &BTreeSet<i32>,
    ) -> Result<RebuildError, RebuildError> {
        let live = self.ground.live_positions().await?;
        let first = followers
            .iter()
            .find(|follower| left.contains(&follower.partition().as_i32()));
        let (partition, built) = first.map_or((Partition(0), 0), |first| {
            (first.partition(), first.position())
        });
        let live = live.get(partition.index()).copied().unwrap_or(0);
        Ok(RebuildError::Impatient {
            seconds: self.rebuild.settings.patience.as_secs(),
            what: format!(
                "partition {partition} stands at {live} in what is shown and at {built} in what \
                 was built; does a daemon feed it (`projector status`)"
            ),
        })
    }

    fn judge(
        &self,
        differences: Vec<Difference>,
        sides: Sides,
    ) -> Result<Vec<Difference>, RebuildError> {
        let allowed = &self.rebuild.allowed;
        let is_allowed = |one: &Difference| match one.kind {
            DifferenceKind::Changed => one.columns.iter().all(|c| allowed.columns.contains(c)),
            DifferenceKind::MissingLive | DifferenceKind::MissingRebuilt => allowed.rows,
        };
        let (allowed, refused): (Vec<_>, Vec<_>) = differences.into_iter().partition(is_allowed);
        if refused.is_empty() {
            return Ok(allowed);
        }
        let refusal = Refusal::Differences {
            live: sides.live,
            generation: sides.built,
            differences: refused,
        };
        Err(refusal.into())
    }

    /// Parked keys were not folded, so what would be shown lacks them.
    pub(super) fn refuse_parked(&self, partitions: &[PartitionProof]) -> Result<(), RebuildError> {
        let mut parked = partitions
            .iter()
            .filter_map(|one| Some((one.parked, one.first_parked.clone()?)))
            .peekable();
        let Some((_, (first, reason))) = parked.peek().cloned() else {
            return Ok(());
        };
        if self.rebuild.allowed.parked {
            return Ok(());
        }
        let refusal = Refusal::Parked {
            count: parked.map(|(count, _)| count).sum(),
            first,
            reason,
        };
        Err(refusal.into())
    }
}

/// Whether a lock was not to be had in time.
pub(super) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.code().as_deref() == Some("55P03"))
}

/// Adds what was found in other partitions to the same kind of difference.
fn merge(differences: &mut Vec<Difference>, found: Difference) {
    let same = differences.iter_mut().find(|one| {
        one.table == found.table && one.kind == found.kind && one.columns == found.columns
    });
    match same {
        Some(one) => {
            one.rows += found.rows;
            one.keys.extend(found.keys);
            one.keys.truncate(KEYS_SHOWN_MAX);
        }
        None => differences.push(found),
    }
}
