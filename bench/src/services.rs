//! The services as processes of their own, with the binaries that lie beside this one, on a
//! database of a private PostgreSQL.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use testkit::Cluster;
use tokio::net::TcpStream;
use uuid::Uuid;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longer than any grace of ours.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A setting of a service, such as `REDIS_URL`, and its value.
pub(crate) type Setting = (&'static str, String);

/// A migrated database with keys, and what every service on it is told. Its folder goes with it.
pub(crate) struct Deployment {
    binaries: PathBuf,
    home: PathBuf,
    environment: Vec<(String, String)>,
}

/// Where the log of a service goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// Warnings, into a file that is shown when the service does not start.
    Warnings,
    /// Everything, as deployed: a line a request. Made and written, but to nowhere: at the rates of
    /// a benchmark a file would take gigabytes, and its disk from PostgreSQL.
    Requests,
}

impl Deployment {
    /// Makes the database and the keys, and migrates.
    ///
    /// # Errors
    /// Of the server, or of what `runnel` says.
    pub(crate) async fn prepare(
        cluster: &Cluster,
        database: &str,
        settings: &[Setting],
    ) -> anyhow::Result<Self> {
        let mut admin = cluster.admin().await?;
        admin
            .execute(format!("create database {database}").as_str())
            .await?;
        admin.close().await?;
        let binaries = std::env::current_exe()?;
        let binaries = binaries.parent().context("a folder")?.to_owned();
        let home = format!("runnel-bench-{}", Uuid::new_v4().simple());
        let home = std::env::temp_dir().join(home);
        std::fs::create_dir_all(&home)?;
        let url = cluster.options(database).to_url_lossy().to_string();
        let mut deployment = Self {
            binaries,
            home,
            environment: Vec::new(),
        };
        let home = deployment.home.to_string_lossy().into_owned();
        deployment.tell("DATABASE_URL", &url);
        deployment.tell("RUNNEL_HOME", &home);
        deployment.tell("SHUTDOWN_WAIT", "0s");
        for (name, value) in settings {
            deployment.tell(name, value);
        }
        let keys = deployment.said("runnel", &["keys"])?;
        let lines = keys.lines().filter(|line| !line.starts_with('#'));
        for (name, value) in lines.filter_map(|line| line.split_once('=')) {
            deployment.tell(name, value);
        }
        deployment.said("runnel", &["migrate"])?;
        Ok(deployment)
    }

    /// Tokens that allow to do anything, each of a principal of its own.
    ///
    /// # Errors
    /// What `runnel` says.
    pub(crate) fn tokens(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let count = count.to_string();
        let tokens = self.said("runnel", &["token", "--role", "admin", "--count", &count])?;
        Ok(tokens.lines().map(str::to_owned).collect())
    }

    /// Starts a `command-api`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn command_api(&self, log: Log, settings: &[Setting]) -> anyhow::Result<Service> {
        let (data, settings) = listening("COMMAND_LISTEN", settings)?;
        self.start("command-api", &[], log, data, settings)
    }

    /// Starts a `query-api`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn query_api(&self, log: Log, settings: &[Setting]) -> anyhow::Result<Service> {
        let (data, settings) = listening("QUERY_LISTEN", settings)?;
        self.start("query-api", &[], log, data, settings)
    }

    /// Starts a `projector run`, which has no data port.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn projector(&self, settings: &[Setting]) -> anyhow::Result<Service> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = settings.to_vec();
        self.start("projector", &["run"], Log::Warnings, nowhere, settings)
    }

    /// Starts a yardstick: a hidden subcommand of this program, told what a service is told, and
    /// where to listen by `BENCH_LISTEN`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn yardstick(
        &self,
        arguments: &[&str],
        log: Log,
        settings: &[Setting],
    ) -> anyhow::Result<Service> {
        let (data, settings) = listening("BENCH_LISTEN", settings)?;
        self.start("bench", arguments, log, data, settings)
    }

    /// Starts the Go yardstick, which must be built: see [`Go`](crate::go::Go).
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn go(&self, arguments: &[&str], settings: &[Setting]) -> anyhow::Result<Service> {
        let (data, settings) = listening("BENCH_LISTEN", settings)?;
        self.start(crate::go::PROGRAM, arguments, Log::Requests, data, settings)
    }

    /// Starts one of our services with its allocations counted, told by `listen` where to listen;
    /// also where its counters are.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn counted(
        &self,
        service: &str,
        listen: &'static str,
        settings: &[Setting],
    ) -> anyhow::Result<(Service, SocketAddr)> {
        let (data, mut settings) = listening(listen, settings)?;
        let counters = loopback()?;
        settings.push(("BENCH_COUNTERS", counters.to_string()));
        let service = self.start("bench-counted", &[service], Log::Requests, data, settings)?;
        Ok((service, counters))
    }

    /// A folder for what goes with the deployment.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    fn tell(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn start(
        &self,
        binary: &str,
        arguments: &[&str],
        log: Log,
        data: SocketAddr,
        settings: Vec<Setting>,
    ) -> anyhow::Result<Service> {
        let path = self.home.join(format!("{binary}.log"));
        let file = File::options().create(true).append(true).open(&path)?;
        let (filter, stdout) = match log {
            Log::Warnings => ("warn", Stdio::from(file.try_clone()?)),
            Log::Requests => ("info", Stdio::null()),
        };
        let admin = loopback()?;
        let child = self
            .command(binary)
            .args(arguments)
            .env("RUST_LOG", filter)
            .env("ADMIN_LISTEN", admin.to_string())
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {binary}"))?;
        Ok(Service {
            name: binary.to_owned(),
            child,
            log: path,
            data,
            admin,
        })
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
}

impl Drop for Deployment {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.home));
    }
}

/// A running process; killed when dropped.
pub(crate) struct Service {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where its API is.
    pub(crate) data: SocketAddr,
    admin: SocketAddr,
}

impl Service {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends before, or takes too long; with the end of its log.
    pub(crate) async fn ready(mut self) -> anyhow::Result<Self> {
        let (url, begun) = (format!("http://{}/readyz", self.admin), Instant::now());
        loop {
            let answer = reqwest::get(&url).await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(self);
            }
            self.wait(begun).await?;
        }
    }

    /// Waits until it takes connections: a yardstick has no admin port.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub(crate) async fn listening(mut self) -> anyhow::Result<Self> {
        let begun = Instant::now();
        while TcpStream::connect(self.data).await.is_err() {
            self.wait(begun).await?;
        }
        Ok(self)
    }

    async fn wait(&mut self, begun: Instant) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() || begun.elapsed() > READY_WITHIN {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{} does not get ready; its log:\n{log}", self.name);
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    /// The sum of the samples of a metric whose series contain this text.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        Ok(sum(&self.series(name).await?, name, label))
    }

    /// A metric's series, a line each.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn series(&self, name: &str) -> anyhow::Result<String> {
        let url = format!("http://{}/metrics", self.admin);
        let text = reqwest::get(url).await?.text().await?;
        let series = text.lines().filter(|line| line.starts_with(name));
        Ok(series.collect::<Vec<_>>().join("\n"))
    }

    /// SIGTERM, so that its leases are free at once, and waits for its end; what does not end is
    /// killed.
    pub(crate) async fn stop(mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let (pid, begun) = (self.child.id().to_string(), Instant::now());
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < STOPPED_WITHIN {
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let series = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn listening(
    name: &'static str,
    settings: &[Setting],
) -> anyhow::Result<(SocketAddr, Vec<Setting>)> {
    let data = loopback()?;
    let mut settings = settings.to_vec();
    settings.push((name, data.to_string()));
    Ok((data, settings))
}

/// An address of this machine that nothing listens on.
pub(crate) fn loopback() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_series_that_have_the_label_and_no_other_metric() {
        let text = "# HELP events_total of\nevents_total{source=\"kafka\",p=\"0\"} 2\n\
                    events_total{source=\"kafka\",p=\"1\"} 3\n\
                    events_total{source=\"postgres\",p=\"1\"} 7\n\
                    events_total_more{source=\"kafka\"} 100\nplain 4\n";
        assert!((sum(text, "events_total", "source=\"kafka\"") - 5.0).abs() < 1e-9);
        assert!((sum(text, "plain", "") - 4.0).abs() < 1e-9);
    }
}
