//! A rebuild: another generation is folded from the event store beside the live one, proven, and
//! only then shown. Whatever does not add up ends it without a switch.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`], [`report`], [`error`] | what is asked, what was proven, what stands in the way |
//! | `lease` | that nobody else rebuilds the same |
//! | `ground` | the generation that is built: begun, taken up again, dropped |
//! | `slice` | a partition folded in memory and copied |
//! | `follow` | the same partition moved on in batches |
//! | `verify`, `diff` | the comparison with what is shown |
//! | `finish` | the switch |
//! | [`progress`], `throttle` | how far it is; making room for the live projection |
//! | [`gc`], [`rollback`] | what an operator does with the generations afterwards |

mod diff;
pub mod error;
mod finish;
mod follow;
pub mod gc;
mod ground;
mod lease;
pub mod progress;
pub mod report;
pub mod rollback;
pub mod settings;
mod slice;
mod throttle;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Instant;

use event_store::store_info::{self, HeadInfo};
use event_store::{EventStore, PartitionReader};
use events::Partition;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use read_model::projection::Projection;
use sqlx::PgPool;

pub use error::{RebuildError, Refusal};
pub use progress::{Phase, Progress};
pub use report::Report;
pub use settings::{Allowed, Purpose, RebuildSettings};

use crate::engine::checkpoint::CheckpointKey;
use follow::Follower;
use ground::Ground;
use lease::RebuildLease;
use throttle::Throttle;

/// A rebuild of one projection, to be run once.
pub struct Rebuild {
    pool: PgPool,
    reader: PartitionReader,
    projection: &'static dyn Projection,
    settings: RebuildSettings,
    allowed: Allowed,
    purpose: Purpose,
    progress: Arc<Progress>,
    /// The generation whose switch was sent to be committed; 0 before.
    switching: AtomicI32,
}

/// What a run stands on: its lease, its generation, and the heads when it began.
struct Run<'a> {
    rebuild: &'a Rebuild,
    lease: &'a RebuildLease,
    ground: Ground,
    cut: Vec<HeadInfo>,
    /// By partition, the head at which it has proven itself last.
    proven: Vec<AtomicI64>,
    throttle: Throttle,
}

impl Rebuild {
    /// Prepares it. `pool` leads to the primary, has no time-outs on its statements, and at least
    /// [`RebuildSettings::connections`] connections.
    #[must_use]
    pub fn new(
        pool: PgPool,
        store: &EventStore,
        projection: &'static dyn Projection,
        settings: RebuildSettings,
        allowed: Allowed,
        purpose: Purpose,
    ) -> Self {
        Self {
            reader: store.partition_reader().on(pool.clone()),
            pool,
            projection,
            settings,
            allowed,
            purpose,
            progress: Arc::default(),
            switching: AtomicI32::new(0),
        }
    }

    /// How far it is, for whoever shows it.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Builds, proves, and switches when that is the purpose. What a run that died had finished is
    /// kept, unless `restart`.
    ///
    /// # Errors
    /// [`RebuildError`]; nothing was switched then, unless it is [`RebuildError::Switched`] or,
    /// when that could not be found out, [`RebuildError::Unanswered`].
    pub async fn run(&self, restart: bool) -> Result<Report, RebuildError> {
        let name = self.projection.name();
        let lease = RebuildLease::take(&self.pool, name, self.settings.lease).await?;
        let ended = tokio::select! {
            ended = self.work(&lease, restart) => ended,
            lost = lease.keep(&self.pool) => Err(lost),
        };
        let ended = match ended {
            Err(error) => Err(self.told_truly(error).await),
            report => report,
        };
        lease.release(&self.pool).await;
        ended
    }

    /// What failed, and that the switch was made before, if it was.
    async fn told_truly(&self, error: RebuildError) -> RebuildError {
        let generation = self.switching.load(Ordering::Relaxed);
        if generation == 0 || matches!(error, RebuildError::Unanswered { .. }) {
            return error;
        }
        let source = Box::new(error);
        match self.is_shown(generation).await {
            Ok(true) => RebuildError::Switched { generation, source },
            Ok(false) => *source,
            Err(unanswered) => unanswered,
        }
    }

    async fn work(&self, lease: &RebuildLease, restart: bool) -> Result<Report, RebuildError> {
        let begun = Instant::now();
        let ground = Ground::prepare(self, lease, restart).await?;
        let name = self.projection.name();
        let cut = store_info::heads(&self.pool).await?;
        let run = Run {
            rebuild: self,
            lease,
            proven: cut.iter().map(|_| AtomicI64::new(0)).collect(),
            cut,
            throttle: Throttle::begin(&self.pool, name, self.settings).await,
            ground,
        };
        let (events, building) = run.build().await?;
        self.progress.enter(Phase::Keys);
        run.ground.add_keys().await?;
        let mut followers = run.followers().await?;
        self.progress.enter(Phase::Verify);
        let (differences, ()) = tokio::try_join!(run.verify(&mut followers), run.ground.analyze())?;
        self.progress.enter(Phase::CatchUp);
        run.catch_up(&mut followers).await?;
        let partitions = run.count(&followers).await?;
        run.refuse_parked(&partitions)?;
        let switched = self.purpose == Purpose::Switch;
        if switched {
            self.progress.enter(Phase::Switch);
            run.switch(followers).await?;
        } else {
            let generation = run.ground.generation;
            gc::drop_generation(&self.pool, run.lease, self.projection, generation).await?;
        }
        Ok(Report {
            projection: self.projection.name(),
            generation: run.ground.generation,
            revision: self.projection.revision(),
            compared_with: run.ground.live.map(|live| live.number),
            switched,
            events,
            build_seconds: building.as_secs_f64(),
            seconds: begun.elapsed().as_secs_f64(),
            phases: self.progress.times(),
            partitions,
            differences,
        })
    }
}

impl Run<'_> {
    /// Every partition up to the cut, several at a time. Returns how many events were read, and
    /// how long that took.
    async fn build(&self) -> Result<(i64, std::time::Duration), RebuildError> {
        let begun = Instant::now();
        let targets = self.targets().await?;
        let total = targets.iter().map(|(_, from, to)| (to - from).max(0)).sum();
        self.rebuild.progress.begin(total);
        let slices = targets
            .into_iter()
            .map(|(head, _, to)| async move { self.slice(head, to).await });
        stream::iter(slices)
            .buffer_unordered(self.rebuild.settings.parallelism)
            .try_collect::<Vec<()>>()
            .await?;
        Ok((total, begun.elapsed()))
    }

    /// Per partition: the head, from where, and up to where. Not above the live checkpoint: to be
    /// compared, both must come to the same position, and only the live one can be waited for.
    async fn targets(&self) -> Result<Vec<(&HeadInfo, i64, i64)>, RebuildError> {
        let own = self.ground.positions().await?;
        let live = self.ground.live_positions().await?;
        let targets = self.cut.iter().map(|head| {
            let at = |positions: &[i64]| positions.get(head.partition.index()).copied();
            let to = at(&live).map_or(head.position, |live| live.min(head.position));
            (head, at(&own).unwrap_or(0), to)
        });
        Ok(targets.collect())
    }

    async fn followers(&self) -> Result<Vec<Follower<'_>>, RebuildError> {
        let mut followers = Vec::with_capacity(self.cut.len());
        for head in &self.cut {
            followers.push(Follower::begin(self, head.partition).await?);
        }
        Ok(followers)
    }

    fn key(&self, partition: Partition) -> CheckpointKey {
        CheckpointKey {
            projection: self.rebuild.projection.name(),
            generation: self.ground.generation,
            partition,
        }
    }
}
