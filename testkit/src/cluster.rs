//! A private PostgreSQL with fsync on, made for one run of a program and removed after it, also
//! when the run is killed: the server then gets SIGQUIT from the kernel, and the next run removes
//! its folder.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use crate::eventually;
use crate::servers::workspace_root;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A running server. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    account: Account,
    folder: PathBuf,
    server: Child,
    options: PgConnectOptions,
}

impl Cluster {
    /// Makes and starts the server for the program of this name. `settings` are lines of its
    /// configuration, such as how much memory it may have.
    ///
    /// # Errors
    /// When PostgreSQL cannot be found or installed, or does not start; with its own log.
    pub async fn start(program: &str, settings: &str) -> anyhow::Result<Self> {
        let programs = find_programs()?;
        let account = Account::of_server()?;
        let folder = make_folder(program, &account)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        initialise(&programs, &account, &folder, &password)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        fs::write(configuration(&folder), config(port, settings))?;
        account.own(&configuration(&folder))?;
        let server = spawn(&programs, &account, &folder)?;
        let options = PgConnectOptions::new()
            .host("127.0.0.1")
            .port(port)
            .username("postgres")
            .password(&password)
            .database("postgres")
            .disable_statement_logging();
        let mut cluster = Self {
            programs,
            account,
            folder,
            server,
            options,
        };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// How to connect to one of its databases.
    #[must_use]
    pub fn options(&self, database: &str) -> PgConnectOptions {
        self.options.clone().database(database)
    }

    /// A connection to its maintenance database.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn admin(&self) -> anyhow::Result<PgConnection> {
        self.options
            .connect()
            .await
            .context("connecting to the private PostgreSQL")
    }

    /// The postmaster's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Where its data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Clones a template into a fresh database and writes out what is dirty, so that every
    /// measurement begins with the same work behind it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn fresh(&self, name: &str, template: &str) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        admin
            .execute(format!("drop database if exists {name} with (force)").as_str())
            .await?;
        admin
            .execute(format!("create database {name} template {template}").as_str())
            .await?;
        admin.execute("checkpoint").await?;
        admin.close().await.context("closing the connection")
    }

    /// SIGKILL to the postmaster, as a machine that loses power would: what was acknowledged must
    /// be there after [`Self::start_again`].
    ///
    /// # Panics
    /// When the server cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is what is wanted.
        drop(self.server.kill());
        self.server.wait().expect("our own child");
    }

    /// Starts the server again after [`Self::kill`], in the same place; it recovers first. What the
    /// killed one left running keeps it from starting for a moment.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        eventually(START_TIMEOUT, || {
            let ended = self.server.try_wait().expect("our own child").is_some();
            if ended {
                self.server =
                    spawn(&self.programs, &self.account, &self.folder).expect("a process");
            }
            let options = self.options.clone();
            async move {
                tokio::time::sleep(POLL).await;
                PgConnection::connect_with(&options).await?.close().await
            }
        })
        .await;
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.server.try_wait()? {
                bail!("PostgreSQL ended ({status}); its log:\n{}", self.log());
            }
            match PgConnection::connect_with(&self.options).await {
                Ok(connection) => return connection.close().await.context("closing"),
                Err(error) if Instant::now() > deadline => {
                    let log = self.log();
                    return Err(error).with_context(|| format!("PostgreSQL's log:\n{log}"));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    /// Immediate: the data are thrown away. What fails here, the next run cleans up.
    fn drop(&mut self) {
        let kill = Command::new("kill")
            .arg("-QUIT")
            .arg(self.server.id().to_string())
            .status();
        if kill.is_ok_and(|status| status.success()) {
            drop(self.server.wait());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Who the server runs as: it refuses root.
#[derive(Debug)]
struct Account {
    other: Option<(u32, u32)>,
}

impl Account {
    fn of_server() -> anyhow::Result<Self> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(Self { other: None });
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        let ids = |wanted: &str| {
            let mut fields = passwd
                .lines()
                .find(|line| line.starts_with(wanted))?
                .split(':');
            let uid = fields.nth(2)?.parse().ok()?;
            Some((uid, fields.next()?.parse().ok()?))
        };
        let other = ids("postgres:")
            .or_else(|| ids("nobody:"))
            .context("no `nobody` here")?;
        Ok(Self { other: Some(other) })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_remove("PGDATA")
            .env("LC_ALL", "C");
        if let Some((uid, gid)) = self.other {
            command.uid(uid).gid(gid).env("HOME", "/");
        }
        command
    }

    fn own(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.other {
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("giving {} to the server's account", path.display()))?;
        }
        Ok(())
    }
}

fn configuration(folder: &Path) -> PathBuf {
    folder.join("data/private.conf")
}

/// Starts the server; the kernel ends it when the thread that called this ends.
fn spawn(programs: &Path, account: &Account, folder: &Path) -> anyhow::Result<Child> {
    let log = folder.join("log");
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    account
        .command(Path::new("setpriv"))
        .args(["--pdeathsig", "QUIT"])
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-c")
        .arg(format!("config_file={}", configuration(folder).display()))
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .spawn()
        .context("starting PostgreSQL through setpriv (util-linux)")
}

fn find_programs() -> anyhow::Result<PathBuf> {
    let output = Command::new(workspace_root().join("scripts/postgres"))
        .stderr(Stdio::inherit())
        .output()
        .context("running scripts/postgres")?;
    if !output.status.success() {
        bail!("scripts/postgres found and installed no PostgreSQL");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// In the checkout, on its disk; beside /var/lib when the server's account cannot enter it.
fn make_folder(program: &str, account: &Account) -> anyhow::Result<PathBuf> {
    let home = workspace_root().join(".runnel");
    fs::create_dir_all(&home)?;
    let mut probe = account.command(Path::new("/bin/true"));
    let home = match probe.current_dir(&home).status() {
        Ok(status) if status.success() => home.canonicalize()?,
        _ => PathBuf::from("/var/lib/runnel"),
    };
    remove_left_behind(program, &home);
    let folder = home.join(format!("{program}-postgres-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    account.own(&folder)?;
    Ok(folder)
}

/// Folders of runs that were killed.
fn remove_left_behind(program: &str, home: &Path) {
    let prefix = format!("{program}-postgres-");
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_string_lossy()
            .strip_prefix(&prefix)
            .map(str::to_owned);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn initialise(
    programs: &Path,
    account: &Account,
    folder: &Path,
    password: &str,
) -> anyhow::Result<()> {
    let file = folder.join("password");
    fs::write(&file, password)?;
    account.own(&file)?;
    let output = account
        .command(&programs.join("initdb"))
        .arg("--pgdata")
        .arg(folder.join("data"))
        .arg("--pwfile")
        .arg(&file)
        .args(["--username", "postgres", "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C", "--data-checksums"])
        .output()
        .context("running initdb")?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// As `runnel up` sets its own cluster, so that figures are those of `make run`.
fn config(port: u16, settings: &str) -> String {
    format!(
        "listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = ''\n\
         max_connections = 100\n\
         random_page_cost = 1.1\n\
         fsync = on\n\
         full_page_writes = on\n\
         synchronous_commit = on\n\
         max_wal_size = 2GB\n\
         checkpoint_timeout = 15min\n\
         timezone = 'UTC'\n\
         update_process_title = on\n\
         {settings}\n"
    )
}
