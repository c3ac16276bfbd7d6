//! The full form: PostgreSQL with fsync on, Redis, Kafka, and two processes of each service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions as _, PgPool};
use testkit::pipeline::view::wait_until_applied;
use testkit::pipeline::{Node, Service, Tokens, binaries, process, tokens};
use testkit::{Cluster, Scripted, TestTopic};

use super::Server;

/// How many processes of each service.
const NODES: usize = 2;
/// How long projections may take to come up to the heads when nobody writes any more.
const APPLIED_WITHIN: Duration = Duration::from_secs(90);

/// Everything that runs. Dropping it stops it: the processes first.
pub(super) struct System {
    pub(super) commands: Vec<Node>,
    pub(super) projectors: Vec<Node>,
    pub(super) queries: Vec<Node>,
    pub(super) tokens: Tokens,
    pub(super) pool: PgPool,
    pub(super) redis: Option<Scripted>,
    pub(super) kafka: Option<(Scripted, TestTopic)>,
    pub(super) postgres: Cluster,
}

impl System {
    pub(super) async fn start(home: PathBuf, without: &[Server]) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(binaries::build).await?;
        let postgres = Cluster::start("chaos", "shared_buffers = 128MB").await?;
        let options = postgres.options("postgres");
        // A connection may have ended with the server.
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .test_before_acquire(true);
        let pool = pool.connect_lazy_with(options.clone());
        let redis = (!without.contains(&Server::Redis))
            .then(|| Scripted::start("redis", &home))
            .transpose()?;
        let kafka = match without.contains(&Server::Kafka) {
            true => None,
            false => {
                let server = Scripted::start("kafka", &home)?;
                let topic = TestTopic::named(server.address());
                topic.make().await;
                Some((server, topic))
            }
        };
        let tokens = Tokens::generate(&home.join("jwks.json"));
        let url = options.to_url_lossy().to_string();
        let settings = settings(&home, &url, redis.as_ref(), kafka.as_ref());
        migrate(&settings).await?;
        let start = |service| start(service, &settings, &home);
        Ok(Self {
            commands: start(Service::CommandApi).await,
            projectors: start(Service::Projector).await,
            queries: start(Service::QueryApi).await,
            tokens,
            pool,
            redis,
            kafka,
            postgres,
        })
    }

    pub(super) fn has_redis(&self) -> bool {
        self.redis.is_some()
    }

    pub(super) fn has_kafka(&self) -> bool {
        self.kafka.is_some()
    }

    /// Waits until every checkpoint is at its head. Nobody may write meanwhile.
    pub(super) async fn wait_until_applied(&self) {
        wait_until_applied(&self.pool, APPLIED_WITHIN).await;
    }
}

async fn start(service: Service, settings: &[(String, String)], home: &Path) -> Vec<Node> {
    let mut nodes = vec![];
    for number in 0..NODES {
        let log = home.join(format!("{service}-{number}.log"));
        nodes.push(Node::start(service, settings.to_vec(), log).await);
    }
    nodes
}

async fn migrate(settings: &[(String, String)]) -> anyhow::Result<()> {
    let output = process::run(&binaries::path("runnel"), &["migrate"], settings).await;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "runnel migrate: {said}");
    Ok(())
}

/// Short leases, so that what is killed is soon replaced; no rate limit, so that load is load.
fn settings(
    home: &Path,
    database: &str,
    redis: Option<&Scripted>,
    kafka: Option<&(Scripted, TestTopic)>,
) -> Vec<(String, String)> {
    const SECRET: &str = "4b1d0f0a77c94a3d8e5c6b2f9a7e1c304b1d0f0a77c94a3d8e5c6b2f9a7e1c30";
    let mut settings = vec![
        ("DATABASE_URL", database.to_owned()),
        ("RUNNEL_HOME", home.display().to_string()),
        ("JWKS", home.join("jwks.json").display().to_string()),
        ("JWT_ISSUER", tokens::ISSUER.to_owned()),
        ("JWT_AUDIENCE", tokens::AUDIENCE.to_owned()),
        ("SECRET_KEY", SECRET.to_owned()),
        (
            "STORE_PARTITIONS",
            testkit::database::TEST_PARTITIONS.to_string(),
        ),
        ("RATE_LIMIT_PER_SECOND", "0".to_owned()),
        ("SHUTDOWN_WAIT", "200ms".to_owned()),
        ("HTTP_HEAD_TIMEOUT", "10s".to_owned()),
        ("PROJECTOR_LEASE", "2s".to_owned()),
        ("RELAY_LEASE", "2s".to_owned()),
        ("DB_ACQUIRE_TIMEOUT", "5s".to_owned()),
        ("DB_POOL_COMMAND", "4".to_owned()),
        ("DB_POOL_QUERY", "4".to_owned()),
        ("WORKER_THREADS", "2".to_owned()),
        ("RUST_LOG", "info".to_owned()),
    ];
    if let Some(redis) = redis {
        settings.push(("REDIS_URL", redis.address().to_owned()));
    }
    if let Some((kafka, topic)) = kafka {
        settings.push(("KAFKA_BROKERS", kafka.address().to_owned()));
        settings.push(("KAFKA_TOPIC", topic.name().to_owned()));
    }
    let owned = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    owned.collect()
}
