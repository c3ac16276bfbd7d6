//! Redis as the projector keeps it, by hand and step by step with the contract's own commands, on
//! the shared test server under the keys of one store.

use events::{Address, ConsistencyToken, Partition, TenantId};
use read_model::Applied;
use read_model::cache::{
    Envelope, Epoch, Keyspace, Mark, Namespace, ValueKey, commands, envelope, push,
};
use read_model::projection::Touched;
use read_model::user_view::{UserKey, UserRow, UserStatus, cached};
use redis::aio::MultiplexedConnection;
use testkit::history::minute;
use uuid::Uuid;

use crate::app::{Setup, TestApp, acme};

/// A process with the shared Redis, and a budget for a busy machine. What it has read it does not
/// read again but for news.
pub(crate) fn with_redis() -> Setup {
    with_redis_at(testkit::servers::redis_url())
}

/// The same with another Redis.
pub(crate) fn with_redis_at(url: String) -> Setup {
    let url: &'static str = Box::leak(url.into_boxed_str());
    Setup {
        settings: vec![
            ("REDIS_URL", url),
            ("REDIS_TIMEOUT", "3s"),
            ("CACHE_L1_FRESH", "60s"),
        ],
        listen: true,
        ..Setup::default()
    }
}

/// The writer.
pub(crate) struct RedisWriter {
    connection: MultiplexedConnection,
    pub(crate) namespace: Namespace,
    pub(crate) keys: Keyspace,
    pub(crate) epoch: Epoch,
    pub(crate) run_id: String,
}

impl RedisWriter {
    /// A writer for the store of this process, in incarnation 1 and generation 1.
    pub(crate) async fn of(app: &TestApp) -> Self {
        let store = sqlx::query_scalar("select store_id from event_store.settings");
        let store: Uuid = store.fetch_one(&app.pool).await.expect("a store's id");
        let client = redis::Client::open(testkit::servers::redis_url()).expect("a URL");
        let mut connection = client
            .get_multiplexed_async_connection()
            .await
            .expect("the test server");
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await
            .expect("INFO");
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let namespace = Namespace::of_store(store);
        Self {
            connection,
            keys: cached::keyspace(namespace.clone(), 1, 1),
            namespace,
            epoch: Epoch::random(),
            run_id: run_id.expect("a run").trim().to_owned(),
        }
    }

    /// What `applied` says when everything up to the position was written.
    pub(crate) fn at(&self, position: i64) -> Mark {
        Mark {
            epoch: self.epoch,
            position,
            run_id: self.run_id.clone(),
        }
    }

    /// Puts a mark, or takes it away.
    pub(crate) async fn mark(&self, partition: Partition, mark: Option<Mark>) {
        let key = self.keys.applied(partition);
        let mut command = redis::cmd(if mark.is_some() { "SET" } else { "DEL" });
        command.arg(key);
        if let Some(mark) = mark {
            command.arg(mark.to_string()).arg("EX").arg(600);
        }
        self.run::<redis::Value>(&command).await;
    }

    /// The key of a user of acme.
    pub(crate) fn key(&self, number: u128) -> ValueKey {
        let id = Uuid::from_u128(number);
        let tenant = acme();
        cached::value_key(&self.keys, &UserKey { tenant, id })
    }

    /// A value of a row, true as of a position.
    pub(crate) fn sealed(
        &self,
        key: &ValueKey,
        row: &UserRow,
        partition: Partition,
        position: i64,
    ) -> Vec<u8> {
        let address = Address {
            partition,
            position,
        };
        let envelope = Envelope {
            epoch: self.epoch,
            as_of: ConsistencyToken::of(1, address),
            revision: 1,
        };
        envelope::seal(key, &envelope, &cached::encode(row))
    }

    /// Puts a value without any script.
    pub(crate) async fn put(&self, key: &ValueKey, value: Vec<u8>) {
        let mut command = redis::cmd("SET");
        command.arg(key.as_str()).arg(value).arg("EX").arg(600);
        self.run::<redis::Value>(&command).await;
    }

    /// What lies under a key.
    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.run(redis::cmd("GET").arg(key)).await
    }

    /// Every key of the store.
    pub(crate) async fn every_key(&self) -> Vec<String> {
        let pattern = format!("{}:*", self.namespace.as_str());
        self.run(redis::cmd("KEYS").arg(pattern)).await
    }

    /// What the projector does after a batch whose rows it does not have: forget them, and then
    /// raise `applied`.
    pub(crate) async fn follow(&self, news: &Applied) {
        let mut pipeline = redis::pipe();
        for touched in news.touched.iter() {
            let key = self.keys.value(&touched.tenant, &touched.id, &touched.id);
            commands::forget(&mut pipeline, &key);
        }
        let mut connection = self.connection.clone();
        let sent = pipeline.query_async::<redis::Value>(&mut connection);
        sent.await.expect("forgotten");
        self.mark(news.partition, Some(self.at(news.position)))
            .await;
    }

    /// What it tells afterwards; how many processes heard it.
    pub(crate) async fn publish(&self, news: &Applied) -> i64 {
        let mut heard = 0;
        for message in push::messages(news) {
            let mut command = redis::cmd("PUBLISH");
            command.arg(push::channel(&self.namespace)).arg(message);
            heard = self.run(&command).await;
        }
        heard
    }

    async fn run<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let answer = command.query_async(&mut self.connection.clone()).await;
        answer.expect("the test server answers")
    }
}

/// A row that PostgreSQL does not have: whoever shows it has it from Redis.
pub(crate) fn row_in_redis(tenant: &TenantId, number: u128) -> UserRow {
    UserRow {
        tenant: tenant.clone(),
        id: Uuid::from_u128(number),
        version: 1,
        status: UserStatus::Active,
        email: Some("ada@example.org".to_owned()),
        email_key: None,
        name: Some("From Redis".to_owned()),
        region: "eu-west".to_owned(),
        bio: None,
        display_name: Some("From Redis".to_owned()),
        avatar_url: None,
        created_at: minute(0),
        last_active: minute(0),
    }
}

/// News of one user of acme.
pub(crate) fn touched(partition: Partition, position: i64, number: u128) -> Applied {
    let touched = Touched {
        tenant: acme(),
        id: Uuid::from_u128(number).to_string(),
    };
    Applied {
        projection: "user_view",
        generation: 1,
        partition,
        position,
        touched: vec![touched].into(),
    }
}
