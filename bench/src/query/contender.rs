//! Who answers queries: ours from each of its layers, and the yardsticks.

use std::sync::Arc;

use anyhow::{bail, ensure};
use uuid::Uuid;

use super::gets::{self, Gets};
use super::stage::{DATABASE, Stage};
use super::{QueryArgs, bare};
use crate::go::Go;
use crate::http::{self, Load, Measured, Watched};
use crate::services::{Log, Service, Setting};

/// Of its look-ups, so many must end in the layer that a contender is named after.
const SHARE_MIN: f64 = 0.9;

/// The metric of look-ups in layers of the cache.
const LOOK_UPS: &str = "cache_requests_total";

/// A second is too short for a hit rate of 100 %; what is asked for is what a hit costs. It is the
/// most that the setting takes, so that users are read again about once a minute.
pub(crate) const FRESH: &str = "60s";

pub(super) const HIT: &str = "ours, hit in the process";
pub(super) const BARE: &str = "bare actix-web";
pub(super) const REDIS: &str = "ours, hit in Redis";
pub(super) const POSTGRES: &str = "ours, read of PostgreSQL";

/// A process that answers, and whom it is asked for.
pub(super) struct Contender {
    /// In tables.
    pub(super) name: &'static str,
    pub(super) service: Service,
    /// Processes that work for it.
    pub(super) beside: Vec<u32>,
    pub(super) users: Arc<[Uuid]>,
    /// Where its answers must come from, if it counts them as ours do.
    pub(super) layer: Option<Layer>,
}

/// Where ours has its answers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Process,
    Redis,
    Postgres,
}

impl Layer {
    /// The label of its hits; reads of PostgreSQL are the misses of the process.
    fn label(self) -> &'static str {
        match self {
            Self::Process => "layer=\"l1\",result=\"hit\"",
            Self::Redis => "layer=\"redis\",result=\"hit\"",
            Self::Postgres => "layer=\"l1\",result=\"miss\"",
        }
    }
}

/// Starts everybody. More yardsticks of reads are to be added here.
///
/// # Errors
/// When one does not start or answer.
pub(super) async fn all(
    stage: &Stage,
    args: &QueryArgs,
    go: &Go,
) -> anyhow::Result<Vec<Contender>> {
    let hit = hit(stage, args).await?;
    let bare = bare_of(&hit, stage, args).await?;
    let yardsticks = match go {
        Go::Built => super::go::all(stage, args, &hit).await?,
        Go::NotHere | Go::Failed(_) => vec![],
    };
    let (redis, postgres) = (redis(stage, args).await?, postgres(stage, args).await?);
    let mut contenders = vec![hit, bare, redis, postgres];
    contenders.extend(yardsticks);
    Ok(contenders)
}

async fn hit(stage: &Stage, args: &QueryArgs) -> anyhow::Result<Contender> {
    let settings = [("CACHE_L1_FRESH", FRESH.to_owned())];
    let users = stage.users.iter().copied().take(args.hot).collect();
    let mut hit = ours(stage, HIT, Layer::Process, &settings).await?;
    hit.users = users;
    hit.warm(stage, args).await?;
    Ok(hit)
}

async fn redis(stage: &Stage, args: &QueryArgs) -> anyhow::Result<Contender> {
    let url = ("REDIS_URL", stage.redis.address().to_owned());
    let nothing_kept = ("CACHE_L1_MAX", "0".to_owned());
    let mut redis = ours(stage, REDIS, Layer::Redis, &[url, nothing_kept]).await?;
    redis.beside = vec![stage.redis_pid()?];
    // The first time fills it in, behind the answers' backs.
    redis.warm(stage, args).await?;
    redis.warm(stage, args).await?;
    Ok(redis)
}

async fn postgres(stage: &Stage, args: &QueryArgs) -> anyhow::Result<Contender> {
    let nothing_kept = ("CACHE_L1_MAX", "0".to_owned());
    let postgres = ours(stage, POSTGRES, Layer::Postgres, &[nothing_kept]).await?;
    postgres.warm(stage, args).await?;
    Ok(postgres)
}

async fn ours(
    stage: &Stage,
    name: &'static str,
    layer: Layer,
    settings: &[Setting],
) -> anyhow::Result<Contender> {
    let service = stage.deployment.query_api(Log::Requests, settings)?;
    Ok(Contender {
        name,
        service: service.ready().await?,
        beside: vec![],
        users: Arc::clone(&stage.users),
        layer: Some(layer),
    })
}

/// Sends what ours sent, head and body.
async fn bare_of(ours: &Contender, stage: &Stage, args: &QueryArgs) -> anyhow::Result<Contender> {
    let (address, token) = (ours.service.data, &stage.tokens[0]);
    let answer = http::fetch(address, &gets::request(address, token, ours.users[0])).await?;
    ensure!(answer.status == 200, "ours answered {}", answer.status);
    let path = stage.deployment.home().join("answer");
    std::fs::write(&path, bare::written(&answer))?;
    let arguments = ["serve-bare", "--answer", &path.to_string_lossy()];
    let service = stage.deployment.yardstick(&arguments, Log::Warnings, &[])?;
    let bare = Contender {
        name: BARE,
        service: service.listening().await?,
        beside: vec![],
        users: Arc::clone(&ours.users),
        layer: None,
    };
    let address = bare.service.data;
    let same = http::fetch(address, &gets::request(address, token, bare.users[0])).await?;
    ensure!(
        same.body == answer.body && same.head.len() == answer.head.len(),
        "bare actix-web does not send the same bytes:\n{}\n{}",
        same.head,
        answer.head
    );
    bare.warm(stage, args).await?;
    Ok(bare)
}

impl Contender {
    /// Asks as fast as it goes.
    ///
    /// # Errors
    /// Of the run, and when the answers come from elsewhere than the name says.
    pub(super) async fn closed(
        &self,
        stage: &Stage,
        args: &QueryArgs,
        postmaster: u32,
    ) -> anyhow::Result<Measured> {
        let before = self.looked_up().await?;
        let load = self.load(args);
        let watched = self.watched(postmaster);
        let measured = http::closed(&load, &watched, |number| self.gets(stage, number)).await?;
        self.check(before).await?;
        Ok(measured)
    }

    /// Asks so many times a second.
    ///
    /// # Errors
    /// As [`Self::closed`].
    pub(super) async fn at_rate(
        &self,
        stage: &Stage,
        args: &QueryArgs,
        postmaster: u32,
        rate: f64,
    ) -> anyhow::Result<Measured> {
        let before = self.looked_up().await?;
        let load = self.load(args);
        let watched = self.watched(postmaster);
        let gets = |number| self.gets(stage, number);
        let measured = http::at_rate(&load, rate, &watched, gets).await?;
        self.check(before).await?;
        Ok(measured)
    }

    /// Every user once, so that caches have what they are to have.
    pub(super) async fn warm(&self, stage: &Stage, args: &QueryArgs) -> anyhow::Result<()> {
        let address = self.service.data;
        let requests = self.users.iter().enumerate().map(|(number, id)| {
            let token = &stage.tokens[number % stage.tokens.len()];
            gets::request(address, token, *id)
        });
        http::each(&self.load(args), requests).await
    }

    fn gets(&self, stage: &Stage, number: usize) -> Gets {
        let users = Arc::clone(&self.users);
        Gets::new(self.service.data, &stage.tokens[number], users, number)
    }

    fn load(&self, args: &QueryArgs) -> Load {
        Load {
            address: self.service.data,
            expected: 200,
            connections: args.connections,
            warm_up: args.warm_up(),
            time: args.time(),
        }
    }

    fn watched(&self, postmaster: u32) -> Watched<'_> {
        Watched {
            server: self.service.pid(),
            beside: &self.beside,
            postmaster,
            database: DATABASE,
        }
    }

    /// Look-ups so far: all of them, and those that ended in the layer.
    async fn looked_up(&self) -> anyhow::Result<(f64, f64)> {
        let Some(layer) = self.layer else {
            return Ok((0.0, 0.0));
        };
        let count = |label| self.service.metric(LOOK_UPS, label);
        let all = count("kind=\"user\",layer=\"l1\"").await?;
        Ok((all, count(layer.label()).await?))
    }

    async fn check(&self, before: (f64, f64)) -> anyhow::Result<()> {
        let now = self.looked_up().await?;
        let (all, right) = (now.0 - before.0, now.1 - before.1);
        if self.layer.is_some() && right < SHARE_MIN * all {
            let series = self.service.series(LOOK_UPS).await?;
            bail!(
                "{}: of {all} look-ups only {right} ended where the name says\n{series}",
                self.name
            );
        }
        Ok(())
    }
}
