//! What runs: a `command-api` with its relay, and a projector that is fed by one source or the
//! other.

use anyhow::Context as _;
use testkit::Cluster;

use super::Source;
use super::broker::Broker;
use crate::services::{Deployment, Log, Service};

/// The database of the run.
pub(super) const DATABASE: &str = "bench_visibility";

/// Running services; killed when dropped.
pub(super) struct Services {
    _command_api: Service,
    projector: Option<Service>,
    deployment: Deployment,
    brokers: String,
    /// Where commands are accepted.
    pub(super) command_url: String,
    /// Allows to write anything.
    pub(super) token: String,
}

impl Services {
    /// Makes the store, and starts the command API with its relay.
    pub(super) async fn start(
        cluster: &Cluster,
        broker: &Broker,
        partitions: u16,
    ) -> anyhow::Result<Self> {
        let settings = [
            ("STORE_PARTITIONS", partitions.to_string()),
            ("KAFKA_TOPIC", broker.topic.clone()),
            ("RATE_LIMIT_PER_SECOND", "0".to_owned()),
        ];
        let deployment = Deployment::prepare(cluster, DATABASE, &settings).await?;
        let token = deployment.tokens(1)?.pop().context("a token")?;
        let brokers = broker.brokers.clone();
        let kafka = ("KAFKA_BROKERS", brokers.clone());
        let command_api = deployment.command_api(Log::Warnings, &[kafka])?;
        let command_api = command_api.ready().await?;
        Ok(Self {
            command_url: format!("http://{}", command_api.data),
            _command_api: command_api,
            projector: None,
            deployment,
            brokers,
            token,
        })
    }

    /// Starts the projector anew, fed by this source.
    pub(super) async fn project_from(&mut self, source: Source) -> anyhow::Result<()> {
        if let Some(projector) = self.projector.take() {
            projector.stop().await;
        }
        let settings = match source {
            Source::Kafka => vec![("KAFKA_BROKERS", self.brokers.clone())],
            Source::Postgres => vec![],
        };
        self.projector = Some(self.deployment.projector(&settings)?.ready().await?);
        Ok(())
    }

    /// How many events this source has given the projector.
    pub(super) async fn events_from(&self, source: Source) -> anyhow::Result<f64> {
        let label = format!("source=\"{}\"", source.name());
        let projector = self.projector.as_ref().context("a projector runs")?;
        projector.metric("projection_events_total", &label).await
    }
}
