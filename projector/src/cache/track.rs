//! One partition of one projection on its way to Redis. It follows batch by batch while everything
//! is as it expects; after anything else it is taken up again from what Redis and PostgreSQL say:
//! what the events in between touched is forgotten in Redis, which is always right, and filled
//! again by whoever asks for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use event_store::PartitionReader;
use events::{Address, ConsistencyToken};
use platform::redis_client::Answer;
use read_model::cache::commands::{self, MOVED, Sealed};
use read_model::cache::{Cached, CachedRow, Envelope, Epoch, Keyspace, Mark};
use read_model::projection::{Projection, Touched};
use sqlx::PgPool;

use super::queue::Committed;
use super::{Target, Trouble, metrics, raise};
use crate::engine::checkpoint::{self, CheckpointKey};

/// Values in one pipeline: a call has a budget.
const WRITES_MAX: usize = 64;
/// Deletions in one pipeline.
const FORGETS_MAX: usize = 256;
/// Events read at once to see what they touched.
const EVENTS_MAX: i64 = 1_000;

/// What a track works with.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) target: &'c Target,
    pub(super) pool: &'c PgPool,
    pub(super) reader: &'c PartitionReader,
    pub(super) lag_max: i64,
}

pub(super) struct Track {
    pub(super) key: CheckpointKey,
    pub(super) incarnation: i32,
    projection: &'static dyn Projection,
    cached: &'static dyn Cached,
    keys: Keyspace,
    applied: String,
    /// What stood in `applied` when this process last saw it there.
    mark: Option<Mark>,
    following: bool,
    /// The checkpoint at the last look, when it was above the mark then.
    was_above: Option<i64>,
}

/// What is to be in Redis of a row, as of a position.
type Change = (Option<Arc<dyn CachedRow>>, i64);

impl Track {
    /// A track that knows nothing yet; none when the projection keeps nothing in Redis.
    pub(super) fn new(
        target: &Target,
        projection: &'static dyn Projection,
        key: CheckpointKey,
        incarnation: i32,
    ) -> Option<Self> {
        let keys = target.keyspace(projection, incarnation, key.generation)?;
        Some(Self {
            applied: keys.applied(key.partition),
            cached: projection.cached()?,
            key,
            incarnation,
            projection,
            keys,
            mark: None,
            following: false,
            was_above: None,
        })
    }

    pub(super) fn is_following(&self) -> bool {
        self.following
    }

    /// Writes batches through, in order, and then moves `applied`. After trouble it has to be taken
    /// up again.
    pub(super) async fn follow(
        &mut self,
        context: Context<'_>,
        batches: &[Arc<Committed>],
    ) -> Result<(), Trouble> {
        let Some(mark) = self.mark.clone().filter(|_| self.following) else {
            return Ok(());
        };
        self.following = false;
        let (changes, upto) = self.changes(batches, mark.position)?;
        if upto > mark.position {
            self.write(context.target, &mark, changes).await?;
            let to = Mark {
                position: upto,
                ..mark.clone()
            };
            self.move_applied(context.target, Some(&mark), to).await?;
        }
        self.following = true;
        Ok(())
    }

    /// The last state of every row, and up to where the batches lead from `after`.
    fn changes(
        &self,
        batches: &[Arc<Committed>],
        after: i64,
    ) -> Result<(HashMap<Touched, Change>, i64), Trouble> {
        let mut upto = after;
        let mut changes = HashMap::new();
        for batch in batches {
            let to = batch.applied.position;
            if to <= upto {
                continue;
            }
            if batch.incarnation > self.incarnation {
                return Err(Trouble::Void);
            }
            if batch.from > upto {
                let from = batch.from;
                return Err(Trouble::Gap { after: upto, from });
            }
            for written in &batch.written {
                changes.insert(written.touched.clone(), (written.row.clone(), to));
            }
            upto = to;
        }
        Ok((changes, upto))
    }

    async fn write(
        &self,
        target: &Target,
        mark: &Mark,
        changes: HashMap<Touched, Change>,
    ) -> Result<(), Trouble> {
        let (mut rows, mut gone) = (Vec::new(), Vec::new());
        for (touched, (row, position)) in changes {
            match row {
                Some(row) => rows.push((touched, row, position)),
                None => gone.push(touched),
            }
        }
        for rows in rows.chunks(WRITES_MAX) {
            let mut pipeline = redis::pipe();
            for (touched, row, position) in rows {
                let address = Address {
                    partition: self.key.partition,
                    position: *position,
                };
                let envelope = Envelope {
                    epoch: mark.epoch,
                    as_of: ConsistencyToken::of(self.incarnation, address),
                    revision: self.projection.revision(),
                };
                let sealed = Sealed {
                    key: &self.value_key(touched),
                    envelope: &envelope,
                    body: &row.body(),
                    ttl: target.ttl,
                };
                commands::write_through(&mut pipeline, sealed);
            }
            let answer: Answer<Vec<String>> = target.redis.call(&pipeline).await?;
            same_run(mark, &answer.run_id)?;
            for result in &answer.value {
                metrics::wrote(self.key.projection, result);
            }
        }
        self.forget(target, mark, &gone).await
    }

    async fn forget(
        &self,
        target: &Target,
        mark: &Mark,
        touched: &[Touched],
    ) -> Result<(), Trouble> {
        for touched in touched.chunks(FORGETS_MAX) {
            let mut pipeline = redis::pipe();
            for one in touched {
                commands::forget(&mut pipeline, &self.value_key(one));
            }
            let answer: Answer<Vec<i64>> = target.redis.call(&pipeline).await?;
            same_run(mark, &answer.run_id)?;
            metrics::forgot(self.key.projection, touched.len());
        }
        Ok(())
    }

    fn value_key(&self, touched: &Touched) -> read_model::cache::ValueKey {
        self.keys.value(&touched.tenant, &touched.id, &touched.id)
    }

    /// Compare and set. An attempt that is not answered may have moved it: then what is found the
    /// next time is ahead of what is known, as when another had moved it, and both are true.
    async fn move_applied(
        &mut self,
        target: &Target,
        from: Option<&Mark>,
        to: Mark,
    ) -> Result<(), Trouble> {
        let pipeline = commands::move_applied(&self.applied, &[from], &to);
        let answer: Answer<(String,)> = target.redis.call(&pipeline).await?;
        if answer.value.0 != MOVED {
            return Err(Trouble::Unexpected);
        }
        same_run(&to, &answer.run_id)?;
        self.mark = Some(to);
        Ok(())
    }

    /// Begins anew: from `applied` when it can be believed and is not too far behind, otherwise
    /// under a new epoch.
    pub(super) async fn take_up(&mut self, context: Context<'_>) -> Result<(), Trouble> {
        self.following = false;
        let mut pipeline = redis::pipe();
        pipeline.get(&self.applied);
        let answer: Answer<(Option<String>,)> = context.target.redis.call(&pipeline).await?;
        let (text,) = answer.value;
        let found = text.as_deref().and_then(Mark::parse);
        if found.is_none() && text.is_some() {
            self.delete_mark(context.target).await?;
        }
        // After `applied`, so that a mark above it means that PostgreSQL went back.
        let checkpoint = self.checkpoint(context.pool).await?;
        let (known, run_id) = (self.mark.as_ref(), &*answer.run_id);
        let reason = raise::reason(found.as_ref(), run_id, known, checkpoint, context.lag_max);
        match (reason, found) {
            (None, Some(found)) => self.catch_up(context, found, checkpoint).await?,
            (reason, found) => {
                let to = Mark {
                    epoch: Epoch::random(),
                    position: checkpoint,
                    run_id: run_id.to_owned(),
                };
                self.move_applied(context.target, found.as_ref(), to)
                    .await?;
                let (name, partition) = (self.key.projection, self.key.partition.0);
                metrics::raised(name, partition, reason.unwrap_or("missing"));
            }
        }
        self.was_above = None;
        self.following = true;
        Ok(())
    }

    /// Forgets in Redis what the events above `found` touched.
    async fn catch_up(
        &mut self,
        context: Context<'_>,
        found: Mark,
        checkpoint: i64,
    ) -> Result<(), Trouble> {
        let mut after = found.position;
        while after < checkpoint {
            let upto = checkpoint.min(after + EVENTS_MAX);
            let partition = self.key.partition;
            let events = context.reader.read_range(partition, after, upto).await?;
            let touched = events.iter().filter_map(|event| self.cached.touches(event));
            let touched: BTreeSet<_> = touched.map(|one| (one.tenant, one.id)).collect();
            let touched: Vec<_> = touched
                .into_iter()
                .map(|(tenant, id)| Touched { tenant, id })
                .collect();
            self.forget(context.target, &found, &touched).await?;
            after = upto;
        }
        let to = Mark {
            position: checkpoint,
            ..found.clone()
        };
        self.move_applied(context.target, Some(&found), to).await
    }

    /// Looks whether everything is as this process left it. Also keeps the mark from expiring.
    pub(super) async fn look(&mut self, context: Context<'_>) -> Result<(), Trouble> {
        let Some(mark) = self.mark.clone() else {
            return Ok(());
        };
        self.following = false;
        let here = mark.position;
        let same = mark.clone();
        self.move_applied(context.target, Some(&mark), same).await?;
        let checkpoint = self.checkpoint(context.pool).await?;
        let (name, partition) = (self.key.projection, self.key.partition.0);
        metrics::lag(name, partition, (checkpoint - here).max(0));
        let missed = self.was_above.is_some_and(|before| before > here);
        self.was_above = (checkpoint > here).then_some(checkpoint);
        if missed || checkpoint < here {
            let (after, from) = (here, checkpoint);
            return Err(Trouble::Gap { after, from });
        }
        self.following = true;
        Ok(())
    }

    /// Gives the values up: nobody reads them, or somebody would without anybody following.
    pub(super) async fn delete_mark(&self, target: &Target) -> Result<(), Trouble> {
        let mut pipeline = redis::pipe();
        pipeline.del(&self.applied);
        let _: Answer<(i64,)> = target.redis.call(&pipeline).await?;
        Ok(())
    }

    async fn checkpoint(&self, pool: &PgPool) -> Result<i64, Trouble> {
        let log = event_store::incarnation::load_log(pool).await?;
        let found = checkpoint::read(pool, self.key).await?;
        let found = found.ok_or(Trouble::Void)?;
        let address = Address {
            partition: self.key.partition,
            position: found.position,
        };
        if log.is_void(found.incarnation, address) || log.current() != self.incarnation {
            return Err(Trouble::Void);
        }
        Ok(found.position)
    }
}

fn same_run(mark: &Mark, run_id: &str) -> Result<(), Trouble> {
    if mark.is_of_run(run_id) {
        Ok(())
    } else {
        Err(Trouble::OtherRun)
    }
}
