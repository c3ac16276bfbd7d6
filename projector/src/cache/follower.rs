//! The loop that brings Redis up to what the engine committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::redis_client::{RedisClient, RedisError};
use platform::telemetry::chain;
use read_model::cache::{Namespace, push, scripts};
use read_model::projection::Projection;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::queue::{Committed, Receiver, queue};
use super::track::{Context, Track};
use super::{CacheSettings, Target, Trouble, current_incarnation, metrics};
use crate::engine::Engine;
use crate::engine::checkpoint::CheckpointKey;

/// How often what is not followed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How often what is followed is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last batches may take when the process stops.
const STOP_MAX: Duration = Duration::from_millis(900);

/// The follower.
pub struct Follower {
    engine: Engine,
    target: Target,
    lag_max: i64,
    receiver: Receiver,
    tracks: BTreeMap<CheckpointKey, Track>,
    looked: Option<Instant>,
}

impl Follower {
    /// A follower of this engine's batches, from now on.
    ///
    /// # Errors
    /// When the URL of Redis is none.
    pub fn new(
        engine: &Engine,
        store_id: Uuid,
        settings: CacheSettings,
    ) -> Result<Self, RedisError> {
        let redis = RedisClient::new(&settings.redis, &scripts::ALL).map_err(RedisError::Failed)?;
        let (queue, receiver) = queue();
        engine.set_follower(queue);
        for projection in read_model::PROJECTIONS {
            metrics::register(projection.name());
        }
        Ok(Self {
            engine: engine.clone(),
            target: Target {
                redis,
                namespace: Namespace::of_store(store_id),
                ttl: settings.redis.ttl_user,
            },
            lag_max: settings.applied_lag_max,
            receiver,
            tracks: BTreeMap::new(),
            looked: None,
        })
    }

    /// Follows until `stopping`, and then writes what is committed already.
    pub async fn run_until(mut self, stopping: impl Future<Output = ()>) {
        let mut ticks = interval(RETRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = std::pin::pin!(stopping);
        loop {
            tokio::select! {
                () = &mut stopping => break,
                batches = self.receiver.some() => {
                    if batches.is_empty() {
                        return;
                    }
                    self.follow(batches).await;
                }
                _ = ticks.tick() => self.look().await,
            }
        }
        let drain = async {
            let rest = self.receiver.rest();
            self.follow(rest).await;
        };
        if tokio::time::timeout(STOP_MAX, drain).await.is_err() {
            tracing::info!("Redis was left behind; the next projector takes it up");
        }
    }

    /// One round, for whoever drives it by hand: what is queued, and a look at everything. Whether
    /// everything that this engine feeds is followed.
    pub async fn step(&mut self) -> bool {
        let rest = self.receiver.rest();
        self.follow(rest).await;
        self.looked = None;
        self.look().await;
        let tasks = self.engine.active_tasks();
        let keeps = |(projection, _): &&(&'static dyn Projection, _)| projection.cached().is_some();
        tasks.iter().filter(keeps).all(|(_, key)| {
            let track = self.tracks.get(key);
            track.is_some_and(Track::is_following)
        })
    }

    async fn follow(&mut self, batches: Vec<Arc<Committed>>) {
        let mut by_key: BTreeMap<CheckpointKey, Vec<Arc<Committed>>> = BTreeMap::new();
        for batch in &batches {
            let key = CheckpointKey {
                projection: batch.applied.projection,
                generation: batch.applied.generation,
                partition: batch.applied.partition,
            };
            by_key.entry(key).or_default().push(Arc::clone(batch));
        }
        for (key, batches) in by_key {
            let context = context(&self.engine, &self.target, self.lag_max);
            if let Some(track) = self.tracks.get_mut(&key) {
                tell(key, track.follow(context, &batches).await);
            }
        }
        self.tell_touched(&batches).await;
    }

    /// Tells query processes what to forget, after what they will read instead is in place.
    async fn tell_touched(&self, batches: &[Arc<Committed>]) {
        let channel = push::channel(&self.target.namespace);
        for batch in batches {
            let mut pipeline = redis::pipe();
            for message in push::messages(&batch.applied) {
                pipeline.publish(&channel, message);
            }
            // A hint: readers find out by themselves within a second.
            if self.target.redis.call::<Vec<i64>>(&pipeline).await.is_err() {
                return;
            }
        }
    }

    /// Takes up what is not followed, and now and then looks after everything that is.
    async fn look(&mut self) {
        let is_time = self.looked.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL);
        let settled = self.tracks.values().all(Track::is_following) && !self.tracks.is_empty();
        if settled && !is_time {
            return;
        }
        if is_time {
            self.looked = Some(Instant::now());
            self.reassign().await;
        }
        for (key, track) in &mut self.tracks {
            let context = context(&self.engine, &self.target, self.lag_max);
            if track.is_following() && is_time {
                tell(*key, track.look(context).await);
            }
            if !track.is_following() {
                tell(*key, track.take_up(context).await);
            }
        }
    }

    /// Begins tracks of what this engine feeds now, and ends the others.
    async fn reassign(&mut self) {
        let (pool, _) = self.engine.store();
        let Ok(incarnation) = current_incarnation(pool).await else {
            return;
        };
        let tasks = self.engine.active_tasks();
        let mut before = std::mem::take(&mut self.tracks);
        for (projection, key) in &tasks {
            let known = before.remove(key);
            let track = known
                .filter(|track| track.incarnation == incarnation)
                .or_else(|| Track::new(&self.target, *projection, *key, incarnation));
            if let Some(track) = track {
                self.tracks.insert(*key, track);
            }
        }
        for (key, track) in before {
            // Another generation is served. Should this one come back, it is not to be believed.
            let replaced = |(_, other): &(&'static dyn Projection, CheckpointKey)| {
                (other.projection, other.partition) == (key.projection, key.partition)
            };
            if tasks.iter().any(replaced) {
                tell(key, track.delete_mark(&self.target).await);
            }
        }
    }
}

fn context<'c>(engine: &'c Engine, target: &'c Target, lag_max: i64) -> Context<'c> {
    let (pool, reader) = engine.store();
    Context {
        target,
        pool,
        reader,
        lag_max,
    }
}

/// The client says once that Redis fails, and everything else is mended by the next look.
fn tell(key: CheckpointKey, outcome: Result<(), Trouble>) {
    if let Err(trouble) = outcome {
        tracing::debug!(
            projection = key.projection,
            partition = key.partition.0,
            error = %chain(&trouble),
            "Redis is not up to date"
        );
    }
}
