//! A store of its own, and any number of command APIs on it, each on a free port and with its own
//! runtime, as a process would have.

use std::time::Duration;

use command_api::{Application, ServiceArgs};
use event_store::{EventStore, PartitionCount};
use platform::admin::Readiness;
use platform::auth::{Claims, Role, TokenSigner};
use platform::config::{Environment, Problems, load};
use platform::secret::SecretKey;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{PgPool, Row};
use testkit::TestDatabase;
use testkit::database::TEST_PARTITIONS;
use tokio::sync::oneshot;
use uuid::Uuid;

/// 32 bytes as hex.
pub(crate) const SECRET: &str = "0707070707070707070707070707070707070707070707070707070707070707";
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "runnel-test";

/// Settings that tests change; everything else has its default.
type Settings<'a> = &'a [(&'a str, &'a str)];

/// A store with keys that its tokens are signed by.
pub(crate) struct TestStore {
    pub(crate) database: TestDatabase,
    pub(crate) signer: TokenSigner,
    keys: tempfile::TempDir,
}

/// A running command API.
pub(crate) struct TestApp {
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    client: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
}

impl TestStore {
    pub(crate) async fn create() -> Self {
        show_logs();
        let database = TestDatabase::create().await;
        let partitions = PartitionCount::new(TEST_PARTITIONS).expect("a count");
        let fingerprint = SecretKey::parse(SECRET).expect("a key").fingerprint();
        EventStore::create(&database.pool(), partitions, &fingerprint)
            .await
            .expect("a store");
        let signer = TokenSigner::generate("test").expect("a key");
        let signer = signer.for_audience(ISSUER, AUDIENCE);
        let keys = tempfile::tempdir().expect("a folder");
        let jwks = json!({ "keys": [signer.jwk()] }).to_string();
        std::fs::write(keys.path().join("jwks.json"), jwks).expect("a file");
        Self {
            database,
            signer,
            keys,
        }
    }

    pub(crate) fn pool(&self) -> PgPool {
        self.database.pool()
    }

    /// Starts a command API on the store.
    pub(crate) fn start(&self, settings: Settings<'_>) -> TestApp {
        let config = self.config(settings);
        let (told, port) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let application = Application::build(config, &Readiness::new()).await;
                let application = application.expect("the application builds");
                told.send(application.port()).expect("the test waits");
                let stop = async { drop(stopped.await) };
                application
                    .run_until(stop)
                    .await
                    .expect("the application runs");
            });
        });
        let port = port.recv().expect("the application starts");
        let client = reqwest::Client::new();
        TestApp {
            port,
            stop: Some(stop),
            thread: Some(thread),
            client,
        }
    }

    pub(crate) fn config(&self, settings: Settings<'_>) -> command_api::Config {
        let jwks = self.keys.path().join("jwks.json");
        let url = self.database.url();
        let mut pairs = vec![
            ("DATABASE_URL", url.as_str()),
            ("COMMAND_LISTEN", "127.0.0.1:0"),
            ("JWKS", jwks.to_str().expect("a path")),
            ("JWT_ISSUER", ISSUER),
            ("JWT_AUDIENCE", AUDIENCE),
            ("SECRET_KEY", SECRET),
            ("WORKER_THREADS", "2"),
            ("MEMORY_LIMIT", "256MiB"),
            ("DB_POOL_COMMAND", "4"),
            ("SHUTDOWN_WAIT", "0s"),
            // Tests share two cores; what is bounded here is tested where it is the subject.
            ("DB_ACQUIRE_TIMEOUT", "10s"),
            ("DB_STATEMENT_TIMEOUT", "10s"),
        ];
        pairs.retain(|(name, _)| settings.iter().all(|(changed, _)| changed != name));
        pairs.extend_from_slice(settings);
        let (cli, _) = load::<Cli>(["test"], Environment::from_pairs(pairs)).expect("arguments");
        let mut problems = Problems::default();
        let config = cli.service.validate(&mut problems);
        problems.check().expect("settings that can be used");
        config
    }

    pub(crate) fn token(&self, tenant: &str, sub: &str, role: Role) -> String {
        let claims = Claims {
            tenant: tenant.to_owned(),
            sub: sub.to_owned(),
            role,
        };
        self.signer
            .sign(&claims, Duration::from_secs(600))
            .expect("a token")
    }

    /// An admin of the tenant `acme`.
    pub(crate) fn admin(&self) -> String {
        self.token("acme", "tests", Role::Admin)
    }

    /// The types of all events, by position and partition.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        const TYPES: &str =
            "select event_type from event_store.event order by recorded_at, partition, position";
        sqlx::query_scalar(TYPES)
            .fetch_all(&self.pool())
            .await
            .expect("the events")
    }

    /// Takes all heads' locks, so that no append goes on, until the transaction ends.
    pub(crate) async fn lock_heads(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        const LOCK: &str =
            "select position from event_store.partition_head order by partition for update";
        let mut transaction = self.pool().begin().await.expect("a transaction");
        sqlx::query(LOCK)
            .fetch_all(&mut *transaction)
            .await
            .expect("the locks");
        transaction
    }

    /// Waits until a session of the service waits for a lock.
    pub(crate) async fn someone_waits_for_a_lock(&self) {
        const WAITING: &str = "
            select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let (deadline, pool) = (Duration::from_secs(20), self.pool());
        testkit::eventually(deadline, || async {
            let waiting: i64 = sqlx::query_scalar(WAITING)
                .fetch_one(&pool)
                .await
                .expect("a count");
            if waiting > 0 { Ok(()) } else { Err(waiting) }
        })
        .await;
    }

    /// Sessions of the service that wait inside a transaction for their client.
    pub(crate) async fn idle_in_transaction(&self) -> i64 {
        const IDLE: &str = "
            select count(*) from pg_stat_activity
            where datname = current_database() and state like 'idle in transaction%'";
        sqlx::query(IDLE)
            .fetch_one(&self.pool())
            .await
            .expect("a count")
            .get(0)
    }
}

impl TestApp {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn request(&self, method: &str, path: &str, token: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client
            .request(method, self.url(path))
            .bearer_auth(token)
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        answer(self.request("POST", path, token).json(&body)).await
    }

    /// Registers a user with plausible fields.
    pub(crate) async fn register(&self, token: &str, id: Uuid) -> Answer {
        self.post("/v1/users", token, user(id)).await
    }

    /// Stops gracefully and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.order_stop();
        let thread = self.thread.take().expect("it runs");
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined
            .expect("the wait")
            .expect("the application ends without a panic");
    }

    /// Orders the stop and does not wait.
    pub(crate) fn order_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has ended already needs no order.
            let _ = stop.send(());
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.order_stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the application panicked"
            );
        }
    }
}

/// With `TEST_LOG` set to a filter, such as `warn`, the services' log is shown.
fn show_logs() {
    static SHOWN: std::sync::Once = std::sync::Once::new();
    SHOWN.call_once(|| {
        if let Ok(filter) = std::env::var("TEST_LOG") {
            tracing_subscriber::fmt().with_env_filter(filter).init();
        }
    });
}

/// Sends a request and reads the answer.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

/// The body of a registration with an address of its own.
pub(crate) fn user(id: Uuid) -> Value {
    json!({
        "id": id,
        "email": format!("{}@example.org", id.simple()),
        "name": "Ada Lovelace",
        "region": "eu-west",
    })
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Status and problem code; an empty code when it is no problem.
    pub(crate) fn code(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            self.body["code"].as_str().unwrap_or_default(),
        )
    }

    /// The pointers of the fields that are wrong, sorted.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut pointers: Vec<_> = errors
            .iter()
            .filter_map(|e| e["pointer"].as_str())
            .collect();
        pointers.sort_unstable();
        pointers
    }

    /// The body without the one member that differs from request to request.
    pub(crate) fn lasting_body(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
        }
        body
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!(self.code(), (status, code), "{}", self.body);
        self
    }
}
