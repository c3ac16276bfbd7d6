//! What the operator's verbs share: patience with Redis, the keys that are in use now, and walking
//! over all keys in small steps.

use std::time::Duration;

use events::{Partition, TenantId};
use platform::config::RedisSettings;
use platform::redis_client::{Answer, RedisClient, RedisError};
use read_model::cache::{Cached, Keyspace, Mark, Namespace, scripts};
use read_model::projection::Projection;
use redis::{FromRedisValue, Pipeline};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Target, current_incarnation};

const READ_STORE_ID: &str = "select store_id from event_store.settings";

const READ_ACTIVE: &str = "\
    select generation from projection.generation where projection = $1 and state = 'active'";

/// Keys that one step of a walk looks at.
const STEP_KEYS: usize = 500;
/// An operator's verb tries again where a daemon would go on without Redis.
const TRIES_MAX: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_millis(300);

/// What stands in the way of a verb.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Redis does not answer.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The database failed.
    #[error("reading the database")]
    Database(#[from] sqlx::Error),
}

/// Redis and the database, for an operator.
#[derive(Debug)]
pub struct Tools {
    pub(super) pool: PgPool,
    pub(super) target: Target,
}

/// A projection's values as readers find them now.
pub(super) struct Current {
    pub(super) projection: &'static dyn Projection,
    pub(super) cached: &'static dyn Cached,
    pub(super) keys: Keyspace,
    pub(super) generation: i32,
}

impl Tools {
    /// On these servers.
    ///
    /// # Errors
    /// When the database cannot be read or Redis' URL is none.
    pub async fn open(pool: PgPool, redis: &RedisSettings) -> Result<Self, ToolError> {
        let store_id: Uuid = sqlx::query_scalar(READ_STORE_ID).fetch_one(&pool).await?;
        let target = Target {
            redis: RedisClient::new(redis, &scripts::ALL).map_err(RedisError::Failed)?,
            namespace: Namespace::of_store(store_id),
            ttl: redis.ttl_user,
        };
        Ok(Self { pool, target })
    }

    /// Every projection that is served and kept in Redis.
    pub(super) async fn current(&self) -> Result<Vec<Current>, ToolError> {
        let incarnation = current_incarnation(&self.pool).await?;
        let mut all = Vec::new();
        for &projection in read_model::PROJECTIONS {
            let generation: Option<i32> = sqlx::query_scalar(READ_ACTIVE)
                .bind(projection.name())
                .fetch_optional(&self.pool)
                .await?;
            let (Some(generation), Some(cached)) = (generation, projection.cached()) else {
                continue;
            };
            let keys = self.target.keyspace(projection, incarnation, generation);
            let current = keys.map(|keys| Current {
                projection,
                cached,
                keys,
                generation,
            });
            all.extend(current);
        }
        Ok(all)
    }

    /// Sends a pipeline whose commands may be repeated, until it is answered.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Answer<T>, ToolError> {
        let mut tries = 1;
        loop {
            match self.target.redis.call(pipeline).await {
                Ok(answer) => return Ok(answer),
                Err(error) if tries >= TRIES_MAX => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// One step over the values and leases of a tenant or of all; it is over when the next cursor
    /// is 0. `KEYS` would hold the server up.
    pub(super) async fn walk(
        &self,
        cursor: u64,
        tenant: Option<&TenantId>,
    ) -> Result<(u64, Vec<String>), ToolError> {
        let pattern = self.target.namespace.values_pattern(tenant);
        let mut pipeline = redis::pipe();
        let scan = pipeline.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern);
        scan.arg("COUNT").arg(STEP_KEYS);
        let answer: Answer<((u64, Vec<String>),)> = self.call(&pipeline).await?;
        Ok(answer.value.0)
    }

    /// The marks that can be believed, by partition; none where there is none.
    pub(super) async fn marks(
        &self,
        keys: &Keyspace,
        partitions: &[Partition],
    ) -> Result<Vec<Option<Mark>>, ToolError> {
        let mut pipeline = redis::pipe();
        let applied: Vec<String> = partitions.iter().map(|one| keys.applied(*one)).collect();
        pipeline.mget(applied);
        let answer: Answer<(Vec<Option<String>>,)> = self.call(&pipeline).await?;
        Ok(believed(answer.value.0, &answer.run_id))
    }
}

/// The marks of this run of the server.
pub(super) fn believed(texts: Vec<Option<String>>, run_id: &str) -> Vec<Option<Mark>> {
    let believed = |text: Option<String>| {
        let mark = Mark::parse(&text?)?;
        mark.is_of_run(run_id).then_some(mark)
    };
    texts.into_iter().map(believed).collect()
}
