//! The service: its pool, the engine on it, the readiness checks, and a clean stop. `runnel up`
//! runs the same one.

use std::sync::Arc;

use anyhow::Context as _;
use event_store::incarnation::{IncarnationError, check_connection};
use event_store::{EventStore, Heads};
use platform::admin::{Health, Readiness};
use platform::config::{DatabaseSettings, KafkaSettings};
use platform::database::{AfterConnect, PoolPlan, pool};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cache::{CacheSettings, Follower};
use crate::engine::kafka::KafkaSource;
use crate::engine::{Applied, Engine, EngineHealth, EngineSettings, LoopEnded};

/// What the service needs to know.
#[derive(Clone, Debug)]
pub struct ProjectorSettings {
    /// The database.
    pub database: DatabaseSettings,
    /// The engine.
    pub engine: EngineSettings,
    /// Redis, if there is one.
    pub cache: Option<CacheSettings>,
    /// Kafka; without it projections are fed from the event store alone.
    pub kafka: Option<KafkaSettings>,
}

/// What the process around the service gives it.
#[derive(Clone, Default)]
pub struct Wiring {
    /// The heads that an appender in the same process announces; without it PostgreSQL's
    /// notifications wake the engine.
    pub heads: Option<watch::Receiver<Heads>>,
    /// Where the service adds its checks.
    pub readiness: Readiness,
    /// Whether this is certainly the only process that runs the service with this flag on this
    /// store, such as `runnel up` on its private cluster: then it has the leases of a predecessor
    /// that was killed at once.
    pub sole: bool,
}

/// The service, built and not yet running.
pub struct Application {
    engine: Engine,
    follower: Option<Follower>,
    heads: Option<watch::Receiver<Heads>>,
}

impl Application {
    /// Connects, opens the store and prepares the engine for every registered projection.
    ///
    /// # Errors
    /// When the database cannot be reached or holds no store.
    pub async fn build(settings: ProjectorSettings, wiring: Wiring) -> anyhow::Result<Self> {
        let size = settings.database.pools.projector;
        let plan = PoolPlan::hot("projector", size, &settings.database);
        let pool = pool(
            &settings.database,
            plan.after_connect(checked_incarnation()),
        )?;
        wiring.readiness.check_database("database", pool.clone());
        let store = EventStore::open(pool.clone())
            .await
            .context("opening the event store")?;
        let projections = read_model::PROJECTIONS;
        let owner = if wiring.sole {
            store.store_id()
        } else {
            Uuid::new_v4()
        };
        let engine = settings.engine;
        let engine = match &settings.kafka {
            None => Engine::open_as(owner, pool, &store, projections, engine).await,
            Some(kafka) => {
                let silence_max = engine.silence_max;
                let source = KafkaSource::open(kafka, pool.clone(), &store, silence_max).await;
                let source = Arc::new(source.context("preparing to read Kafka")?);
                Engine::open_with_source(owner, pool, &store, projections, engine, source).await
            }
        };
        let engine = engine.context("preparing the projection engine")?;
        let watched = engine.clone();
        wiring.readiness.check("projections", move || {
            let health = health(&watched.health());
            async move { health }
        });
        let follower = settings
            .cache
            .map(|cache| Follower::new(&engine, store.store_id(), cache))
            .transpose()
            .context("preparing for Redis")?;
        Ok(Self {
            engine,
            follower,
            heads: wiring.heads,
        })
    }

    /// What is committed from now on, for readers in the same process.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Applied> {
        self.engine.subscribe()
    }

    /// The engine, for whoever drives it by hand.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs until `shutdown`, then stops within a second and hands every partition over.
    ///
    /// # Errors
    /// When a loop of the engine ended by itself.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), LoopEnded> {
        let stopping = CancellationToken::new();
        let follower = self.follower.map(|follower| {
            let stopping = stopping.clone();
            tokio::spawn(follower.run_until(async move { stopping.cancelled().await }))
        });
        let ended = self.engine.run_until(self.heads, shutdown).await;
        stopping.cancel();
        if let Some(follower) = follower
            && let Err(error) = follower.await
        {
            tracing::error!(%error, "the writer of Redis ended by itself");
        }
        ended
    }
}

/// A connection to a server with another history is closed again: projections wait until a lane has
/// begun the next incarnation.
pub(crate) fn checked_incarnation() -> AfterConnect {
    Arc::new(|connection| {
        Box::pin(async move {
            match check_connection(connection).await {
                Ok(_) => Ok(()),
                Err(IncarnationError::Database(error)) => Err(error),
                Err(error) => Err(sqlx::Error::Configuration(Box::new(error))),
            }
        })
    })
}

fn health(engine: &EngineHealth) -> Health {
    if !engine.suspect.is_empty() {
        let names = engine.suspect.join(", ");
        return Health::Failed(format!("suspect deploy: {names} would park too many keys"));
    }
    if !engine.attending {
        return Health::Failed("leases could not be tended".to_owned());
    }
    let parts = [("filling", &engine.filling), ("paused", &engine.paused)];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word}: {}", names.join(", ")))
        .collect();
    if parts.is_empty() {
        Health::Ok
    } else {
        Health::Degraded(parts.join("; "))
    }
}
