//! Commands over HTTP: each registers another user, so that they go to all partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use events::{ConsistencyToken, TokenEntry};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::services::Services;
use super::watch::Watch;

/// Commands that may wait for their answers at the same time; more means that the rate is not held.
const IN_FLIGHT_MAX: usize = 4_096;

/// Sends commands.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Arc<str>,
    token: Arc<str>,
}

impl Client {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: format!("{}/v1/users", services.command_url).into(),
            token: services.token.as_str().into(),
        }
    }

    /// One command; where its event stands.
    async fn register(&self) -> anyhow::Result<TokenEntry> {
        let id = Uuid::now_v7();
        let body = json!({
            "id": id, "email": format!("{}@example.org", id.simple()),
            "name": "Ada Lovelace", "region": "eu-west", "bio": "Wrote the first program",
        });
        let request = self
            .http
            .post(&*self.url)
            .bearer_auth(&self.token)
            .json(&body);
        let answer = request.send().await?;
        if answer.status() != 201 {
            bail!("a command was answered {}", answer.status());
        }
        let token = answer
            .headers()
            .get("consistency-token")
            .context("a token")?;
        let token: ConsistencyToken = token.to_str()?.parse()?;
        token.entries().first().copied().context("an address")
    }

    /// So many connections, each as fast as it is answered; commands a second.
    pub(super) async fn as_many_as_go(
        &self,
        writers: usize,
        time: Duration,
    ) -> anyhow::Result<f64> {
        let (begun, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (client, done) = (self.clone(), Arc::clone(&done));
            tasks.spawn(async move {
                while begun.elapsed() < time {
                    client.register().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let done = done.load(Ordering::Relaxed) as f64;
        Ok(done / begun.elapsed().as_secs_f64())
    }

    /// So many commands a second, whether they are answered or not.
    pub(super) async fn at_rate(
        &self,
        rate: f64,
        time: Duration,
        watch: &Watch,
    ) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        let begun = Instant::now();
        while begun.elapsed() < time {
            ticks.tick().await;
            let (client, watch) = (self.clone(), watch.clone());
            tasks.spawn(async move {
                let entry = client.register().await?;
                watch.acknowledged(entry.address, Instant::now());
                anyhow::Ok(())
            });
            while let Some(ended) = tasks.try_join_next() {
                ended??;
            }
            if tasks.len() > IN_FLIGHT_MAX {
                bail!("{rate:.0} commands/s are more than the machine holds");
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}
