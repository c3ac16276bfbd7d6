//! PostgreSQL servers of a test's own, which it may kill: a primary, and a standby that streams
//! from it until it is cut off or promoted. The kernel ends them with the test.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tempfile::TempDir;

use super::node::spare_port;
use crate::eventually;
use crate::servers::workspace_root;

/// On a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    server: Child,
    port: u16,
}

impl Cluster {
    /// A fresh one.
    ///
    /// # Panics
    /// When it cannot be made: the test cannot run.
    pub async fn primary() -> Self {
        let folder = make_folder();
        let data = folder.path().join("data");
        let mut initdb = Account::of_server().command(&program("initdb"));
        initdb.args([
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
        ]);
        succeeds(
            initdb
                .args(["--locale", "C", "--no-sync", "--pgdata"])
                .arg(data),
        );
        Self::start(folder).await
    }

    /// A standby that streams from the server of these options, which may be behind a proxy.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn standby_of(source: &PgConnectOptions) -> Self {
        let folder = make_folder();
        let (host, port) = (source.get_host(), source.get_port());
        let source = format!(
            "host={host} port={port} user=postgres sslmode=disable gssencmode=disable \
             application_name=standby"
        );
        let mut backup = Account::of_server().command(&program("pg_basebackup"));
        backup.args([
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            "--dbname",
        ]);
        backup
            .arg(source)
            .arg("--pgdata")
            .arg(folder.path().join("data"));
        // It speaks through a proxy that runs on this very runtime.
        let made = tokio::task::spawn_blocking(move || succeeds(&mut backup));
        made.await.expect("pg_basebackup");
        Self::start(folder).await
    }

    async fn start(folder: TempDir) -> Self {
        let port = spare_port();
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=100".to_owned(),
            "shared_buffers=32MB".to_owned(),
            "fsync=off".to_owned(),
            // What is replayed is shown at once, and who was cut off asks again soon.
            "wal_retrieve_retry_interval=200ms".to_owned(),
        ];
        let server = Account::of_server()
            .command(Path::new("setpriv"))
            .args(["--pdeathsig", "QUIT"])
            .arg(program("postgres"))
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .expect("setpriv (util-linux) starts PostgreSQL");
        let cluster = Self {
            folder,
            server,
            port,
        };
        eventually(READY_WITHIN, || async {
            let ready = PgConnection::connect_with(&cluster.options()).await;
            ready.map_err(|error| format!("{error}: {}", cluster.log()))
        })
        .await
        .close()
        .await
        .expect("a good end");
        cluster
    }

    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
            .disable_statement_logging()
    }

    /// A number that a statement gives.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn number(&self, statement: &str) -> i64 {
        let mut connection = self.options().connect().await.expect("a connection");
        let number = sqlx::query_scalar(statement).fetch_one(&mut connection);
        number.await.expect("a number")
    }

    /// Waits until this standby shows everything that the primary has committed.
    ///
    /// # Panics
    /// When it does not come up to it.
    pub async fn catches_up_with(&self, primary: &Self) {
        const WRITTEN: &str = "select (pg_current_wal_lsn() - '0/0')::bigint";
        const REPLAYED: &str = "select (pg_last_wal_replay_lsn() - '0/0')::bigint";
        let written = primary.number(WRITTEN).await;
        eventually(READY_WITHIN, || async {
            let replayed = self.number(REPLAYED).await;
            (replayed >= written)
                .then_some(())
                .ok_or((replayed, written))
        })
        .await;
    }

    /// Makes the standby a primary of a timeline of its own.
    ///
    /// # Panics
    /// When it does not become one.
    pub async fn promote(&self) {
        let promoted = self.number("select pg_promote()::integer::bigint").await;
        assert_eq!(promoted, 1, "{}", self.log());
    }

    /// SIGKILL: nothing is written any more.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn kill(&mut self) {
        self.server.kill().expect("it runs");
        self.server.wait().expect("it ends");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    /// Immediate: the data are thrown away.
    fn drop(&mut self) {
        let pid = self.server.id().to_string();
        let asked = Command::new("kill").arg("-QUIT").arg(pid).output();
        if asked.is_ok_and(|output| output.status.success()) {
            let _ = self.server.wait();
        }
    }
}

/// Who the server runs as: it refuses root.
struct Account(Option<(u32, u32)>);

impl Account {
    fn of_server() -> Self {
        if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
            return Self(None);
        }
        let nobody = fs::read_to_string("/etc/passwd").expect("accounts");
        let nobody = nobody.lines().find(|line| line.starts_with("nobody:"));
        let mut fields = nobody.expect("`nobody`").split(':').skip(2);
        let mut id = || fields.next().and_then(|id| id.parse().ok());
        Self(id().zip(id()))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_remove("PGDATA")
            .env("LC_ALL", "C");
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid).env("HOME", "/");
        }
        command
    }
}

fn make_folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    if let Account(Some((uid, gid))) = Account::of_server() {
        chown(folder.path(), Some(uid), Some(gid)).expect("the server's own folder");
    }
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(folder.path(), closed).expect("permissions");
    folder
}

/// A program that came with the server.
///
/// # Panics
/// When there is no server.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let find = Command::new(workspace_root().join("scripts/postgres"))
        .arg("--find")
        .output();
    let folder = String::from_utf8(find.expect("the script runs").stdout).expect("a path");
    let beside = Path::new(folder.trim()).join(name);
    if beside.exists() {
        beside
    } else {
        PathBuf::from(name)
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}
