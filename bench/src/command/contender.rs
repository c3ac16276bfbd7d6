//! Who takes commands: ours, and the yardsticks, each with a database of its own on one server.

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use testkit::Cluster;

use super::CommandArgs;
use crate::append::STOCK_TABLE;
use crate::go::Go;
use crate::http::{self, Load, Measured, Watched};
use crate::query::limits;
use crate::registrations::Registrations;
use crate::services::{Deployment, Log, Service};

pub(super) const OURS: &str = "ours, command-api";
pub(super) const STOCK: &str = "stock cqrs-es + postgres-es";
pub(super) const GO: &str = "Go, user and event inserted";

const OUR_DATABASE: &str = "bench_command";
const STOCK_DATABASE: &str = "bench_command_stock";
const GO_DATABASE: &str = "bench_command_go";

/// A process that takes commands.
pub(super) struct Contender {
    /// In tables.
    pub(super) name: &'static str,
    service: Service,
    database: &'static str,
}

/// Ours and whom it is compared with. More yardsticks of commands are to be added here.
pub(super) struct Contenders {
    pub(super) all: Vec<Contender>,
    tokens: Vec<String>,
    _deployment: Deployment,
}

impl Contenders {
    /// Starts everybody.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start(
        cluster: &Cluster,
        args: &CommandArgs,
        go: &Go,
    ) -> anyhow::Result<Self> {
        let deployment = Deployment::prepare(cluster, OUR_DATABASE, &limits()).await?;
        let most = args.levels.iter().copied().max().context("a level")?;
        let tokens = deployment.tokens(most)?;
        let ours = deployment.command_api(Log::Requests, &[])?;
        let ours = Contender {
            name: OURS,
            service: ours.ready().await?,
            database: OUR_DATABASE,
        };
        let mut all = vec![ours, stock(cluster, &deployment).await?];
        if matches!(go, Go::Built) {
            all.push(gos(cluster, &deployment).await?);
        }
        Ok(Self {
            all,
            tokens,
            _deployment: deployment,
        })
    }

    /// As many commands as these connections get answered.
    ///
    /// # Errors
    /// Of the server or of a command.
    pub(super) async fn closed(
        &self,
        contender: &Contender,
        cluster: &Cluster,
        load: Load,
    ) -> anyhow::Result<Measured> {
        checkpoint(cluster).await?;
        let (address, tokens) = (contender.service.data, &self.tokens);
        let load = Load { address, ..load };
        let requests = |number: usize| Registrations::new(address, &tokens[number]);
        http::closed(&load, &contender.watched(cluster), requests).await
    }

    /// So many commands a second.
    ///
    /// # Errors
    /// As [`Self::closed`]; also when the rate is not held.
    pub(super) async fn at_rate(
        &self,
        contender: &Contender,
        cluster: &Cluster,
        load: Load,
        rate: f64,
    ) -> anyhow::Result<Measured> {
        checkpoint(cluster).await?;
        let (address, tokens) = (contender.service.data, &self.tokens);
        let load = Load { address, ..load };
        let requests = |number: usize| Registrations::new(address, &tokens[number]);
        http::at_rate(&load, rate, &contender.watched(cluster), requests).await
    }
}

impl Contender {
    fn watched(&self, cluster: &Cluster) -> Watched<'_> {
        Watched {
            server: self.service.pid(),
            beside: &[],
            postmaster: cluster.pid(),
            database: self.database,
        }
    }
}

async fn create_database(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let mut admin = cluster.admin().await?;
    admin
        .execute(format!("create database {name}").as_str())
        .await?;
    Ok(admin.close().await?)
}

/// It makes its tables itself.
async fn gos(cluster: &Cluster, deployment: &Deployment) -> anyhow::Result<Contender> {
    create_database(cluster, GO_DATABASE).await?;
    let url = cluster.options(GO_DATABASE).to_url_lossy().to_string();
    let service = deployment.go(&["-read", "postgres"], &[("DATABASE_URL", url)])?;
    Ok(Contender {
        name: GO,
        service: service.listening().await?,
        database: GO_DATABASE,
    })
}

async fn stock(cluster: &Cluster, deployment: &Deployment) -> anyhow::Result<Contender> {
    create_database(cluster, STOCK_DATABASE).await?;
    let options = cluster.options(STOCK_DATABASE);
    let mut connection = options.connect().await?;
    connection.execute(STOCK_TABLE).await?;
    connection.close().await?;
    let url = ("DATABASE_URL", options.to_url_lossy().to_string());
    let service = deployment.yardstick(&["serve-stock"], Log::Requests, &[url])?;
    Ok(Contender {
        name: STOCK,
        service: service.listening().await?,
        database: STOCK_DATABASE,
    })
}

/// Every measurement begins with the same work behind it.
async fn checkpoint(cluster: &Cluster) -> anyhow::Result<()> {
    let mut admin = cluster.admin().await?;
    admin.execute("checkpoint").await?;
    Ok(admin.close().await?)
}
