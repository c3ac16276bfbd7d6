//! The relay to Kafka that runs beside the API, when there is a Kafka. Commands work without it:
//! whatever is wrong with Kafka or its topic makes the process degraded and not unready.

use std::sync::Arc;

use event_store::relay::{LoopEnded, Relay, Target};
use event_store::{Appender, EventStore, incarnation};
use platform::admin::{Health, Readiness};
use platform::config::DatabaseSettings;
use platform::database::{self, AfterConnect, InvalidDatabaseUrl, PoolPlan};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The running relay, or none.
pub(crate) struct Relaying(Option<Running>);

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), LoopEnded>>,
    pool: PgPool,
}

impl Relaying {
    /// Starts the relay when the settings name a Kafka.
    pub(crate) fn start(
        config: &Config,
        store: &EventStore,
        appender: &Appender,
        readiness: &Readiness,
    ) -> Result<Self, InvalidDatabaseUrl> {
        let Some(kafka) = &config.kafka else {
            return Ok(Self(None));
        };
        let target = Target {
            brokers: kafka.brokers.clone(),
            topic: kafka.topic.clone(),
        };
        let pool = pool(&config.database)?;
        let bounds = config.command.relay;
        let relay = Relay::new(store, pool.clone(), target, bounds, Some(appender));
        let shown = relay.clone();
        readiness.check("kafka_relay", move || {
            let health = shown.complaint().map_or(Health::Ok, Health::Degraded);
            async move { health }
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { relay.run_until(stopped.cancelled()).await });
        Ok(Self(Some(Running { stop, task, pool })))
    }

    /// Waits until a loop of it has ended by itself, which none should.
    pub(crate) async fn failed(&mut self) -> std::io::Error {
        let Some(Running { task, .. }) = &mut self.0 else {
            return std::future::pending().await;
        };
        let ended = task.await;
        self.0 = None;
        match ended {
            Ok(Ok(())) => std::io::Error::other("the relay ended by itself"),
            Ok(Err(error)) => std::io::Error::other(error),
            Err(error) => std::io::Error::other(error),
        }
    }

    /// Waits for what is on its way, and hands the leases over.
    pub(crate) async fn stop(self) {
        let Some(Running { stop, task, pool }) = self.0 else {
            return;
        };
        stop.cancel();
        if let Ok(Err(error)) = task.await {
            tracing::error!(
                error = %platform::telemetry::chain(&error),
                "the relay failed"
            );
        }
        pool.close().await;
    }
}

/// Nobody relays what a standby or another history holds.
fn pool(settings: &DatabaseSettings) -> Result<PgPool, InvalidDatabaseUrl> {
    let check: AfterConnect = Arc::new(|connection| {
        Box::pin(async move {
            let checked = incarnation::check_connection(connection).await;
            checked
                .map(drop)
                .map_err(|error| sqlx::Error::AnyDriverError(Box::new(error)))
        })
    });
    let plan = PoolPlan::hot("relay", settings.pools.relay, settings).after_connect(check);
    database::pool(settings, plan)
}
