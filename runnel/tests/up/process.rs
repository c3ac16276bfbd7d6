//! Drives one `runnel up` in a home of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(30);

/// A RUNNEL_HOME that is removed at the end, its cluster stopped before.
pub(crate) struct TestHome {
    folder: tempfile::TempDir,
}

impl TestHome {
    /// A home that every account can enter.
    pub(crate) fn new() -> Self {
        Self::with_mode(0o755)
    }

    /// A home in a folder that only its owner can enter, as in root's own.
    pub(crate) fn closed() -> Self {
        Self::with_mode(0o700)
    }

    fn with_mode(mode: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(".runnel")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("postgres/data")
    }

    /// The binary with this home, any free ports and nothing of the tester's own settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runnel"));
        command.args(arguments).env("RUNNEL_HOME", self.path());
        for listen in ["COMMAND_LISTEN", "QUERY_LISTEN", "ADMIN_LISTEN"] {
            command.env(listen, "127.0.0.1:0");
        }
        for own in [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "SECRET_KEY",
            "SECRET_KEY_FILE",
            "JWKS",
        ] {
            command.env_remove(own);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `runnel up` and waits until it says that it is up.
    pub(crate) async fn up(&self) -> Up {
        Up::start(self.command(&["up"])).await
    }

    /// The process id in the cluster's `postmaster.pid`.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// What RUNNEL_HOME/env says.
    pub(crate) fn told(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.path().join("env")).unwrap();
        platform::config::parse_env_file(&text)
    }

    /// A user registered over HTTP with the ready-made token; the id and the answer's token.
    pub(crate) async fn register(&self, name: &str) -> (Uuid, String) {
        let id = Uuid::now_v7();
        let url = format!("{}/v1/users", self.told()["COMMAND_URL"]);
        let email = format!("{}@example.org", id.simple());
        let body = json!({"id": id, "email": email, "name": name, "region": "eu-west"});
        let client = reqwest::Client::new();
        let answer = eventually(ANSWER, || async {
            let request = client.post(&url).bearer_auth(self.token()).json(&body);
            let answer = request.send().await.map_err(|error| error.to_string())?;
            match answer.status().as_u16() {
                201 => Ok(answer),
                status => Err(format!(
                    "{status} {}",
                    answer.text().await.unwrap_or_default()
                )),
            }
        });
        let answer = answer.await;
        let token = answer.headers()["Consistency-Token"]
            .to_str()
            .unwrap()
            .to_owned();
        (id, token)
    }

    /// A user as the query API shows it, as soon as it does.
    pub(crate) async fn read(&self, id: Uuid) -> Value {
        let url = format!("{}/v1/users/{id}", self.told()["QUERY_URL"]);
        let client = reqwest::Client::new();
        let read = eventually(ANSWER, || async {
            let answer = client.get(&url).bearer_auth(self.token()).send().await;
            let answer = answer.map_err(|error| error.to_string())?;
            match answer.status().as_u16() {
                200 => answer
                    .json::<Value>()
                    .await
                    .map_err(|error| error.to_string()),
                status => Err(format!(
                    "{status} {}",
                    answer.text().await.unwrap_or_default()
                )),
            }
        });
        read.await
    }

    fn token(&self) -> String {
        fs::read_to_string(self.path().join("token"))
            .unwrap()
            .trim()
            .to_owned()
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        // A test that failed in between leaves a server behind; SIGQUIT ends it at once.
        if let Some(pid) = self.postmaster() {
            signal("QUIT", pid);
            let file = self.data().join("postmaster.pid");
            for _ in 0..500 {
                if !file.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A running `runnel up`.
pub(crate) struct Up {
    child: Child,
    said: Arc<Mutex<String>>,
    /// The part of it that went to standard output.
    shown: Arc<Mutex<String>>,
}

impl Up {
    pub(crate) async fn start(mut command: Command) -> Up {
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let shown = Arc::new(Mutex::new(String::new()));
        let both = vec![Arc::clone(&said), Arc::clone(&shown)];
        keep(child.stdout.take().unwrap(), both);
        keep(child.stderr.take().unwrap(), vec![Arc::clone(&said)]);
        let mut up = Up { child, said, shown };
        for _ in 0..START.as_millis() / 20 {
            if up.said().contains("Runnel is up") {
                return up;
            }
            if let Some(status) = up.child.try_wait().unwrap() {
                panic!("it ended ({status}) and said: {}", up.said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it is not up and said: {}", up.said());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// What it wrote to standard output so far.
    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Sends a signal and waits for the end.
    pub(crate) async fn end(mut self, name: &str) -> (ExitStatus, String) {
        signal(name, self.pid());
        for _ in 0..STOP.as_millis() / 20 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("SIG{name} did not end it; it said: {}", self.said());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Ended already in tests that went well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(name: &str, pid: u32) {
    Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
}

/// Whether the server runs as another account than this process.
pub(crate) fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Whether only the owner may read a file.
pub(crate) fn is_private(path: &Path) -> bool {
    fs::metadata(path).unwrap().permissions().mode() & 0o777 == 0o600
}

fn keep(mut pipe: impl std::io::Read + Send + 'static, texts: Vec<Arc<Mutex<String>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..count]);
            for kept in &texts {
                kept.lock().unwrap().push_str(&text);
            }
        }
    });
}
