//! Redis as a follower of its own: what the engine committed is written through, and then `applied`
//! says so. Projections never wait for it: when it falls behind, what it missed is forgotten in
//! Redis, and when that is too much, everything there is made cold.
//!
//! | module | what it holds |
//! |---|---|
//! | `queue` | committed batches on their way, bounded |
//! | `follower` | the loop |
//! | `track` | one partition of one projection: write, move `applied`, or begin anew |
//! | `raise` | when everything becomes cold |
//! | [`check`], [`warm`], [`purge`] | what operators do |

pub mod check;
mod follower;
mod metrics;
pub mod purge;
mod queue;
mod raise;
mod tools;
mod track;
pub mod warm;

use std::time::Duration;

use platform::config::RedisSettings;
use platform::redis_client::RedisClient;
use read_model::cache::{Keyspace, Namespace};
use read_model::projection::Projection;
use sqlx::PgPool;

pub use follower::Follower;
pub use queue::{Committed, Queue};
pub use tools::Tools;

/// What the follower needs to know.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Where Redis is.
    pub redis: RedisSettings,
    /// More events behind than this and everything is given up as cold (`CACHE_APPLIED_LAG_MAX`).
    pub applied_lag_max: i64,
}

/// Where values go.
#[derive(Clone, Debug)]
struct Target {
    redis: RedisClient,
    namespace: Namespace,
    ttl: Duration,
}

impl Target {
    fn keyspace(
        &self,
        projection: &'static dyn Projection,
        incarnation: i32,
        generation: i32,
    ) -> Option<Keyspace> {
        let schema = projection.cached()?.schema();
        let (namespace, name) = (self.namespace.clone(), projection.name());
        Some(Keyspace::new(
            namespace,
            name,
            schema,
            incarnation,
            generation,
        ))
    }
}

/// Why Redis is not up to date. All of it passes: the partition is taken up again.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Redis(#[from] platform::redis_client::RedisError),
    #[error("the server was another run than before")]
    OtherRun,
    #[error("`applied` is not what this process wrote last")]
    Unexpected,
    #[error("a batch is missing between {after} and {from}")]
    Gap { after: i64, from: i64 },
    #[error("the checkpoint is void, or of another incarnation")]
    Void,
    #[error("reading the database")]
    Database(#[from] sqlx::Error),
    #[error("reading the events that were missed")]
    Events(#[from] event_store::ReadError),
}

async fn current_incarnation(pool: &PgPool) -> Result<i32, sqlx::Error> {
    Ok(event_store::incarnation::load_log(pool).await?.current())
}
