//! The services as processes, with the binaries that lie beside this one.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::Source;
use super::broker::Broker;
use crate::cluster::Cluster;

/// The database of the run.
pub(super) const DATABASE: &str = "bench_visibility";

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Running services; killed when dropped.
pub(super) struct Services {
    binaries: PathBuf,
    home: PathBuf,
    environment: Vec<(String, String)>,
    command_api: Child,
    projector: Option<Child>,
    projector_admin: u16,
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
        let mut admin = cluster.admin().await?;
        admin
            .execute(format!("create database {DATABASE}").as_str())
            .await?;
        admin.close().await?;
        let binaries = std::env::current_exe()?;
        let binaries = binaries.parent().context("a folder")?.to_owned();
        let home = std::env::temp_dir().join(format!("{}.home", broker.topic));
        std::fs::create_dir_all(&home)?;
        let url = cluster.options(DATABASE).to_url_lossy().to_string();
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = vec![
            setting("DATABASE_URL", &url),
            setting("RUNNEL_HOME", &home.to_string_lossy()),
            setting("STORE_PARTITIONS", &partitions.to_string()),
            setting("KAFKA_TOPIC", &broker.topic),
            setting("RATE_LIMIT_PER_SECOND", "0"),
            setting("SHUTDOWN_WAIT", "0s"),
            setting("RUST_LOG", "warn"),
        ];
        let (data, command_admin, projector_admin) = (port()?, port()?, port()?);
        let mut services = Self {
            // Replaced below; `true` ends by itself.
            command_api: Command::new("true").spawn()?,
            projector: None,
            projector_admin,
            command_url: format!("http://127.0.0.1:{data}"),
            token: String::new(),
            binaries,
            home,
            environment,
        };
        let keys = services.said("runnel", &["keys"])?;
        let lines = keys.lines().filter(|line| !line.starts_with('#'));
        let keys = lines.filter_map(|line| line.split_once('='));
        services
            .environment
            .extend(keys.map(|(name, value)| setting(name, value)));
        services.said("runnel", &["migrate"])?;
        services.token = services.said("runnel", &["token", "--role", "admin"])?;
        services.command_api = services.spawn(
            "command-api",
            &[],
            &[
                setting("COMMAND_LISTEN", &format!("127.0.0.1:{data}")),
                setting("ADMIN_LISTEN", &format!("127.0.0.1:{command_admin}")),
                setting("KAFKA_BROKERS", &broker.brokers),
            ],
        )?;
        services
            .environment
            .push(setting("BENCH_BROKERS", &broker.brokers));
        ready(command_admin).await?;
        Ok(services)
    }

    /// Starts the projector anew, fed by this source.
    pub(super) async fn project_from(&mut self, source: Source) -> anyhow::Result<()> {
        self.stop_projector();
        let listen = format!("127.0.0.1:{}", self.projector_admin);
        let mut settings = vec![("ADMIN_LISTEN".to_owned(), listen)];
        if source == Source::Kafka {
            let brokers = self
                .environment
                .iter()
                .find(|(name, _)| name == "BENCH_BROKERS");
            let (_, brokers) = brokers.context("the brokers are known")?;
            settings.push(("KAFKA_BROKERS".to_owned(), brokers.clone()));
        }
        self.projector = Some(self.spawn("projector", &["run"], &settings)?);
        ready(self.projector_admin).await
    }

    /// How many events this source has given the projector.
    pub(super) async fn events_from(&self, source: Source) -> anyhow::Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.projector_admin);
        let text = reqwest::get(url).await?.text().await?;
        let label = format!("source=\"{}\"", source.name());
        let counts = text
            .lines()
            .filter(|line| line.starts_with("projection_events_total") && line.contains(&label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum())
    }

    fn spawn(
        &self,
        binary: &str,
        arguments: &[&str],
        settings: &[(String, String)],
    ) -> anyhow::Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.join(format!("{binary}.log")))?;
        let mut command = self.command(binary);
        command.args(arguments).envs(settings.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command
            .spawn()
            .with_context(|| format!("starting {binary}"))
    }

    /// Runs a verb to its end; what it says.
    fn said(&self, binary: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(binary).args(arguments).output();
        let output = output.with_context(|| format!("running {binary}"))?;
        if !output.status.success() {
            bail!(
                "{binary} {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn command(&self, binary: &str) -> Command {
        let mut command = Command::new(self.binaries.join(binary));
        command.env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(self.environment.iter().cloned());
        command
    }

    /// SIGTERM, so that its leases are free at once.
    fn stop_projector(&mut self) {
        if let Some(mut projector) = self.projector.take() {
            let pid = projector.id().to_string();
            drop(Command::new("kill").args(["-TERM", &pid]).status());
            drop(projector.wait());
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop_projector();
        drop(self.command_api.kill());
        drop(self.command_api.wait());
        drop(std::fs::remove_dir_all(&self.home));
    }
}

async fn ready(admin: u16) -> anyhow::Result<()> {
    let (url, begun) = (format!("http://127.0.0.1:{admin}/readyz"), Instant::now());
    loop {
        if reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {
            return Ok(());
        }
        if begun.elapsed() > READY_WITHIN {
            bail!("{url} is not ready within {READY_WITHIN:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}

fn port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
