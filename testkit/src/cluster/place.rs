//! Where a private PostgreSQL lives: a folder that goes with it, the server's programs, and the
//! account that they run as.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};

use crate::servers::workspace_root;

/// A folder on the checkout's disk; removed with this.
#[derive(Debug)]
pub(super) struct Place {
    program: String,
    account: Account,
    programs: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Makes a folder for this program, and removes those of its runs that were killed.
    pub(super) fn make(program: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (programs, account) = (find_programs()?, Account::of_server()?);
        let home = home(&account)?;
        remove_left_behind(program, &home);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{program}-postgres-{}-{number}", std::process::id());
        let place = Self {
            program: program.to_owned(),
            account,
            programs,
            folder: home.join(name),
        };
        fs::create_dir_all(&place.folder)
            .with_context(|| format!("making {}", place.folder.display()))?;
        fs::set_permissions(&place.folder, fs::Permissions::from_mode(0o700))?;
        place.account.own(&place.folder)?;
        Ok(place)
    }

    /// Another one beside it.
    pub(super) fn another(&self) -> anyhow::Result<Self> {
        Self::make(&self.program)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// An empty cluster. It is not synced: it does not outlive the machine.
    pub(super) fn initialise(&self, password: &str) -> anyhow::Result<()> {
        let file = self.folder.join("password");
        self.write(&file, password)?;
        let mut initdb = self.command("initdb");
        initdb
            .arg("--pgdata")
            .arg(self.data())
            .arg("--pwfile")
            .arg(&file)
            .args(["--username", "postgres", "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C"])
            .args(["--data-checksums", "--no-sync"]);
        succeeds(initdb)
    }

    /// A copy of the cluster that is reached there, which will stream from it.
    pub(super) async fn copy_from(
        &self,
        (host, port): (&str, u16),
        password: &str,
    ) -> anyhow::Result<()> {
        let source = format!(
            "host={host} port={port} user=postgres sslmode=disable gssencmode=disable \
             application_name=standby"
        );
        let mut backup = self.command("pg_basebackup");
        backup
            .env("PGPASSWORD", password)
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", &source, "--pgdata"])
            .arg(self.data());
        // The source may be a proxy that runs on this very runtime.
        tokio::task::spawn_blocking(move || succeeds(backup)).await?
    }

    /// Starts the server on this port; the kernel ends it when the thread that called this ends.
    pub(super) fn spawn(&self, port: u16, settings: &str) -> anyhow::Result<Child> {
        let configuration = self.data().join("private.conf");
        self.write(&configuration, &config(port, settings))?;
        let log = self.folder.join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        self.account
            .command(Path::new("setpriv"))
            .args(["--pdeathsig", "QUIT"])
            .arg(self.programs.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-c")
            .arg(format!("config_file={}", configuration.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .context("starting PostgreSQL through setpriv (util-linux)")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.account.command(&beside(&self.programs, program))
    }

    fn write(&self, file: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(file, text)?;
        self.account.own(file)
    }
}

impl Drop for Place {
    /// What fails here, the next run cleans up.
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// As `runnel up` sets its own cluster, so that figures are those of `make run`. What stands last
/// counts.
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

/// A program that came with the server, such as `pg_dump`; some packages have it elsewhere.
///
/// # Errors
/// When there is no server, and none can be installed.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(beside(&find_programs()?, name))
}

fn beside(programs: &Path, name: &str) -> PathBuf {
    let beside = programs.join(name);
    if beside.exists() {
        beside
    } else {
        PathBuf::from(name)
    }
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

fn succeeds(mut command: Command) -> anyhow::Result<()> {
    let output = command.output();
    let output = output.with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{:?} failed: {text}", command.get_program());
    }
    Ok(())
}

/// In the checkout, on its disk; beside /var/lib when the server's account cannot enter it.
fn home(account: &Account) -> anyhow::Result<PathBuf> {
    let home = workspace_root().join(".runnel");
    fs::create_dir_all(&home)?;
    let mut probe = account.command(Path::new("/bin/true"));
    match probe.current_dir(&home).status() {
        Ok(status) if status.success() => Ok(home.canonicalize()?),
        _ => Ok(PathBuf::from("/var/lib/runnel")),
    }
}

/// Folders of runs that were killed.
fn remove_left_behind(program: &str, home: &Path) {
    let prefix = format!("{program}-postgres-");
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let rest = name.strip_prefix(&prefix);
        let pid = rest.and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
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
