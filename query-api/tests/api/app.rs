//! A running query API whose rows are driven by applying the projection, step by step.

use std::sync::Mutex;
use std::time::Duration;

use clap::Parser;
use events::{Partition, RecordedEvent, TenantId, UserEvent};
use platform::admin::Readiness;
use platform::auth::{Claims, Role, TokenSigner};
use platform::config::{Environment, Problems, load};
use query_api::{Application, News, ServiceArgs};
use read_model::Applied;
use read_model::projection::{Projection, Target};
use read_model::user_view::UserView;
use reqwest::Client;
use sqlx::PgPool;
use testkit::TestDatabase;
use testkit::history::{History, registered, tenant};
use tokio::sync::broadcast;
use uuid::Uuid;

pub(crate) use crate::reply::Reply;

/// The secret of every test's process.
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// How long what comes by itself may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The tenant of most tests.
pub(crate) fn acme() -> TenantId {
    tenant("acme")
}

/// How a test wants its process.
#[derive(Default)]
pub(crate) struct Setup {
    /// Settings beside those that every test needs.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// News by PostgreSQL's notifications instead of in the process.
    pub(crate) listen: bool,
    /// Another way to the database, such as through a proxy.
    pub(crate) database_url: Option<String>,
    /// A store whose view is not served yet.
    pub(crate) filling: bool,
}

/// The process, its database and the log that its rows come from.
pub(crate) struct TestApp {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) readiness: Readiness,
    signer: TokenSigner,
    log: Mutex<History>,
    news: broadcast::Sender<Applied>,
    pub(crate) pool: PgPool,
    _keys: tempfile::TempDir,
    _database: Option<TestDatabase>,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
}

impl TestApp {
    /// A process with the usual settings.
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(Setup::default()).await
    }

    /// A process.
    pub(crate) async fn spawn_with(setup: Setup) -> Self {
        Self::spawn_on(TestDatabase::create().await, setup).await
    }

    /// A process on a database that exists.
    pub(crate) async fn spawn_on(database: TestDatabase, setup: Setup) -> Self {
        let pool = database.pool();
        let state = if setup.filling { "filling" } else { "active" };
        create_store(&pool, state).await;
        let url = setup.database_url.clone().unwrap_or_else(|| database.url());
        Self::start(pool, Some(database), &url, &setup).await
    }

    /// Another process on the same store, which this one outlives.
    pub(crate) async fn spawn_beside(&self, setup: Setup) -> Self {
        let database = self._database.as_ref().expect("the first process");
        let url = setup.database_url.clone().unwrap_or_else(|| database.url());
        Self::start(self.pool.clone(), None, &url, &setup).await
    }

    async fn start(pool: PgPool, database: Option<TestDatabase>, url: &str, setup: &Setup) -> Self {
        let signer = TokenSigner::generate("test").expect("a key");
        let keys = tempfile::tempdir().expect("a folder");
        let jwks = keys.path().join("jwks.json");
        let set = serde_json::json!({ "keys": [signer.jwk()] });
        std::fs::write(&jwks, set.to_string()).expect("written");
        let config = config(url, jwks.to_str().expect("a path"), &setup.settings);
        let readiness = Readiness::new();
        let news = broadcast::Sender::new(64);
        let heard = if setup.listen {
            News::Listen
        } else {
            News::InProcess(news.subscribe())
        };
        let application = Application::build(config, heard, &readiness)
            .await
            .expect("an application");
        let url = format!("http://127.0.0.1:{}", application.port());
        tokio::spawn(application.run_until(std::future::pending()));
        Self {
            url,
            client: Client::new(),
            readiness,
            signer,
            log: Mutex::default(),
            news,
            pool,
            _keys: keys,
            _database: database,
        }
    }

    /// Runs a statement as the owner.
    pub(crate) async fn execute(&self, statement: &str) {
        sqlx::raw_sql(statement)
            .execute(&self.pool)
            .await
            .expect(statement);
    }

    /// A token of somebody of a tenant.
    pub(crate) fn bearer(&self, tenant: &TenantId, sub: &str, role: Role) -> String {
        let claims = Claims {
            tenant: tenant.to_string(),
            sub: sub.to_owned(),
            role,
        };
        self.signer
            .sign(&claims, Duration::from_secs(60))
            .expect("a token")
    }

    /// Asks as an operator of acme.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    /// Asks as an operator of acme, with headers.
    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let bearer = self.bearer(&acme(), "ops", Role::Operator);
        self.get_as(&bearer, path, headers).await
    }

    /// Asks as whoever the token says.
    pub(crate) async fn get_as(&self, bearer: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .bearer_auth(bearer);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        Reply::of(request.send().await.expect("an answer")).await
    }

    /// Appends an event without projecting it; its token.
    pub(crate) async fn append(
        &self,
        owner: &TenantId,
        id: Uuid,
        event: &UserEvent,
    ) -> RecordedEvent {
        let recorded = self
            .log
            .lock()
            .expect("no test panics here")
            .record(owner, id, event);
        let head = "update event_store.partition_head set position = $2 where partition = $1";
        sqlx::query(head)
            .bind(recorded.address.partition.as_i32())
            .bind(recorded.address.position)
            .execute(&self.pool)
            .await
            .expect("a head");
        recorded
    }

    /// Projects an event: rows and checkpoint in one transaction, and then the news.
    pub(crate) async fn project(&self, event: &RecordedEvent) {
        let news = self.project_in_silence(event).await;
        // Nobody listens in a process that listens to PostgreSQL.
        let _ = self.news.send(news);
    }

    /// Projects an event and tells nobody in the process.
    pub(crate) async fn project_in_silence(&self, event: &RecordedEvent) -> Applied {
        let partition = event.address.partition;
        let mut transaction = self.pool.begin().await.expect("a transaction");
        let target = Target {
            generation: 1,
            partition,
        };
        let batch = std::slice::from_ref(event);
        let effects = UserView
            .apply(&mut transaction, target, batch)
            .await
            .expect("a fold");
        let position = event.address.position;
        for statement in [
            "update projection.checkpoint set position = $2 where partition = $1 and generation = 1",
            "select pg_notify('projection_checkpoint', 'user_view 1 ' || $1 || ' ' || $2)",
        ] {
            let query = sqlx::query(statement)
                .bind(partition.as_i32())
                .bind(position);
            query.execute(&mut *transaction).await.expect(statement);
        }
        transaction.commit().await.expect("a commit");
        Applied {
            projection: "user_view",
            generation: 1,
            partition,
            position,
            touched: effects.touched.into(),
        }
    }

    /// Appends and projects; the token.
    pub(crate) async fn happen(&self, owner: &TenantId, id: Uuid, event: &UserEvent) -> String {
        let recorded = self.append(owner, id, event).await;
        self.project(&recorded).await;
        token(&recorded)
    }

    /// Registers user `number` of acme as Ada in `eu-west`.
    pub(crate) async fn register(&self, number: u128) -> String {
        let id = Uuid::from_u128(number);
        self.happen(&acme(), id, &registered(id, "Ada", "eu-west", [1; 32]))
            .await
    }

    /// Where a user of acme lives.
    pub(crate) fn partition(&self, number: u128) -> Partition {
        let count = self.log.lock().expect("no test panics here").partitions();
        count.partition_of(&acme(), &Uuid::from_u128(number).to_string())
    }
}

/// The token that a command would answer with.
pub(crate) fn token(event: &RecordedEvent) -> String {
    format!("1.{}.{}", event.address.partition, event.address.position)
}

/// The route of a user.
pub(crate) fn user(number: u128) -> String {
    format!("/v1/users/{}", Uuid::from_u128(number))
}

/// The settings of a process.
pub(crate) fn config(url: &str, jwks: &str, settings: &[(&str, &str)]) -> query_api::Config {
    let secret: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut pairs = vec![
        ("DATABASE_URL", url),
        ("SECRET_KEY", &secret),
        ("JWKS", jwks),
        ("JWT_ISSUER", platform::auth::DEV_ISSUER),
        ("JWT_AUDIENCE", platform::auth::DEV_AUDIENCE),
        ("QUERY_LISTEN", "127.0.0.1:0"),
        ("DB_POOL_QUERY", "2"),
        ("WORKER_THREADS", "1"),
        ("MEMORY_LIMIT", "256MiB"),
        // Tests share two cores; what is bounded here is tested where it is the subject.
        ("DB_ACQUIRE_TIMEOUT", "10s"),
        ("DB_STATEMENT_TIMEOUT", "10s"),
        ("DB_LOCK_TIMEOUT", "10s"),
    ];
    pairs.retain(|(name, _)| settings.iter().all(|(changed, _)| changed != name));
    pairs.extend_from_slice(settings);
    let (cli, _) = load::<Cli>(["query-api"], Environment::from_pairs(pairs)).expect("settings");
    let mut problems = Problems::default();
    let config = cli.service.validate(&mut problems);
    problems.check().expect("good settings");
    config
}

/// A store of four partitions and generation 1 of the view, as store and engine make them.
async fn create_store(pool: &PgPool, state: &str) {
    let statements = [
        "insert into event_store.settings (store_id, partitions, format, secret_fingerprint)
         values (gen_random_uuid(), 4, 1, 'none')"
            .to_owned(),
        "insert into event_store.incarnation (number, system_identifier, timeline, heads)
         values (1, 1, 1, '{0,0,0,0}')"
            .to_owned(),
        "insert into event_store.partition_head (partition, incarnation)
         select partition, 1 from generate_series(0, 3) partition"
            .to_owned(),
        "select read_model.create_user_view(1)".to_owned(),
        format!(
            "insert into projection.generation (projection, generation, revision, state, cut)
             values ('user_view', 1, 1, '{state}', '{{0,0,0,0}}')"
        ),
        "insert into projection.checkpoint (projection, generation, partition, incarnation)
         select 'user_view', 1, partition, 1 from generate_series(0, 3) partition"
            .to_owned(),
    ];
    for statement in statements {
        sqlx::raw_sql(&statement)
            .execute(pool)
            .await
            .expect("a store");
    }
    if state == "active" {
        activate(pool).await;
    }
}

/// Makes the view stand for generation 1.
pub(crate) async fn activate(pool: &PgPool) {
    let statement = "create view read_model.user_view as select * from read_model.user_view_g1;
        update projection.generation set state = 'active'";
    sqlx::raw_sql(statement)
        .execute(pool)
        .await
        .expect("a view");
}

impl TestApp {
    /// A transaction of the owner.
    pub(crate) async fn begin(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        self.pool.begin().await.expect("a transaction")
    }

    /// A number that a statement gives.
    pub(crate) async fn count(&self, statement: &str) -> i64 {
        sqlx::query_scalar(statement)
            .fetch_one(&self.pool)
            .await
            .expect(statement)
    }

    /// The first fill is done.
    pub(crate) async fn activate(&self) {
        activate(&self.pool).await;
    }
}
