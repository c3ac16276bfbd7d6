//! What is there before queries are measured: registered users, and their view.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::postgres::PgConnectOptions;
use testkit::{Cluster, Scripted};
use uuid::Uuid;

use crate::figure::float;
use crate::http::{self, Load};
use crate::registrations;
use crate::services::{Deployment, Log, Service, Setting};

/// The database of the run.
pub(crate) const DATABASE: &str = "bench_query";

/// The rate limit is on and counts, and refuses nobody.
pub(crate) const LIMIT: u32 = 10_000_000;

/// Connections that register the users.
const FILLERS: usize = 32;

const PROJECTED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Everything but the contenders.
pub(crate) struct Stage {
    pub(crate) deployment: Deployment,
    pub(super) database: PgConnectOptions,
    pub(super) redis: Scripted,
    /// A connection's, each of a principal of its own.
    pub(crate) tokens: Vec<String>,
    pub(crate) users: Arc<[Uuid]>,
    /// Redis is only believed while somebody keeps it up to date.
    _projector: Service,
}

impl Stage {
    /// Registers the users and waits until they can be read.
    ///
    /// # Errors
    /// When a server or a service fails.
    pub(crate) async fn build(
        cluster: &Cluster,
        connections: usize,
        users: usize,
    ) -> anyhow::Result<Self> {
        let settings = limits();
        let deployment = Deployment::prepare(cluster, DATABASE, &settings).await?;
        let redis = Scripted::start_apart("redis")?;
        let tokens = deployment.tokens(connections)?;
        let url = ("REDIS_URL", redis.address().to_owned());
        let projector = deployment.projector(&[url])?.ready().await?;
        let users: Arc<[Uuid]> = (0..users).map(|_| Uuid::now_v7()).collect();
        let command_api = deployment.command_api(Log::Warnings, &[])?.ready().await?;
        register(command_api.data, &tokens[0], &users).await?;
        command_api.stop().await;
        projected(&projector, users.len()).await?;
        Ok(Self {
            deployment,
            database: cluster.options(DATABASE),
            redis,
            tokens,
            users,
            _projector: projector,
        })
    }

    /// The process of Redis.
    pub(super) fn redis_pid(&self) -> anyhow::Result<u32> {
        let pid = std::fs::read_to_string(self.redis.folder().join("pid"))?;
        pid.trim().parse().context("the process id of Redis")
    }
}

/// How the rate limit is set, for everybody.
pub(crate) fn limits() -> [Setting; 2] {
    let limit = LIMIT.to_string();
    [
        ("RATE_LIMIT_PER_SECOND", limit.clone()),
        ("RATE_LIMIT_BURST", limit),
    ]
}

async fn register(address: SocketAddr, token: &str, users: &[Uuid]) -> anyhow::Result<()> {
    let load = Load {
        address,
        expected: 201,
        connections: FILLERS.min(users.len()),
        warm_up: Duration::ZERO,
        time: Duration::ZERO,
    };
    let requests = users
        .iter()
        .map(|id| registrations::request(address, token, *id));
    http::each(&load, requests).await
}

async fn projected(projector: &Service, users: usize) -> anyhow::Result<()> {
    let (wanted, begun) = (float(u64::try_from(users)?), Instant::now());
    while projector.metric("projection_events_total", "").await? < wanted {
        ensure!(
            begun.elapsed() < PROJECTED_WITHIN,
            "the view does not get filled"
        );
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
