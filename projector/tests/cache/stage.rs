//! A store with users in it, a Redis, projectors that are driven by hand, and a reader that reads
//! as the contract says.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use event_store::EventStore;
use events::user::UserProfileUpdated;
use events::{Partition, PartitionCount, Patch, Personal, RecordedEvent, TenantId, UserEvent};
use platform::config::RedisSettings;
use projector::cache::check::{Checked, check};
use projector::cache::warm::{WarmPlan, Warmed, warm};
use projector::cache::{CacheSettings, Follower, Tools};
use projector::engine::{BatchLimits, Engine, EngineSettings};
use read_model::cache::commands::{self, LookedUp};
use read_model::cache::{Keyspace, Mark, Namespace, Opened, ValueKey, envelope};
use read_model::user_view::{UserKey, UserRow, cached};
use redis::aio::MultiplexedConnection;
use secrecy::SecretString;
use sqlx::PgPool;
use testkit::TestDatabase;
use testkit::history::{History, minute, registered, tenant};
use uuid::Uuid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const MOVE_HEAD: &str = "
update event_store.partition_head set position = $2, recorded_at = $3 where partition = $1";

const INSERT: &str = "
insert into event_store.event
    (position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
    aggregate_type, aggregate_id, routing_key, event_type, payload, metadata)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::json, '{}')";

pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) pool: PgPool,
    pub(crate) store: EventStore,
    pub(crate) tenant: TenantId,
    pub(crate) settings: RedisSettings,
    pub(crate) namespace: Namespace,
    history: Mutex<History>,
}

/// A projector in this process.
pub(crate) struct Projector {
    pub(crate) engine: Engine,
    pub(crate) follower: Follower,
}

impl Stage {
    /// On the shared Redis, whose keys begin with the store's id.
    pub(crate) async fn shared() -> Self {
        Self::on(&testkit::servers::redis_url()).await
    }

    pub(crate) async fn on(redis_url: &str) -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        let partitions = PartitionCount::new(4).expect("the stage is sound");
        EventStore::create(&pool, partitions, "test")
            .await
            .expect("the stage is sound");
        let store = EventStore::open(pool.clone())
            .await
            .expect("the stage is sound");
        Self {
            namespace: Namespace::of_store(store.store_id()),
            database,
            pool,
            store,
            tenant: tenant("acme"),
            settings: RedisSettings {
                url: SecretString::from(redis_url),
                // The machine is busy.
                timeout: Duration::from_secs(5),
                ttl_user: Duration::from_secs(600),
            },
            history: Mutex::default(),
        }
    }

    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        let url = secrecy::ExposeSecret::expose_secret(&self.settings.url);
        let client = redis::Client::open(url).expect("the stage is sound");
        client
            .get_multiplexed_async_connection()
            .await
            .expect("the stage is sound")
    }

    pub(crate) async fn projector(&self) -> Projector {
        self.projector_with(10_000).await
    }

    pub(crate) async fn projector_with(&self, applied_lag_max: i64) -> Projector {
        let settings = EngineSettings {
            lease: Duration::from_secs(5),
            batch: BatchLimits {
                events_max: 20,
                rows_max: 20_000,
            },
            ..EngineSettings::default()
        };
        let projections = read_model::PROJECTIONS;
        let engine = Engine::open(self.pool.clone(), &self.store, projections, settings)
            .await
            .expect("the stage is sound");
        let cache = CacheSettings {
            redis: self.settings.clone(),
            applied_lag_max,
        };
        let follower =
            Follower::new(&engine, self.store.store_id(), cache).expect("the stage is sound");
        Projector { engine, follower }
    }

    pub(crate) async fn tools(&self) -> Tools {
        Tools::open(self.pool.clone(), &self.settings)
            .await
            .expect("the stage is sound")
    }

    pub(crate) async fn check(&self) -> Checked {
        check(&self.tools().await, None)
            .await
            .expect("the stage is sound")
    }

    pub(crate) async fn warm(&self) -> Warmed {
        let plan = WarmPlan {
            tenant: None,
            limit: 1_000,
            per_second: 100_000,
        };
        warm(&self.tools().await, &plan)
            .await
            .expect("the stage is sound")
    }

    pub(crate) fn user(&self, number: u32) -> UserKey {
        UserKey {
            tenant: self.tenant.clone(),
            id: Uuid::from_u128(0x018f_3c2e_0000_7000_8000_0000_0000_0000 + u128::from(number)),
        }
    }

    pub(crate) fn partition(&self, user: &UserKey) -> Partition {
        let count = self.store.partitions();
        count.partition_of(&user.tenant, &user.id.to_string())
    }

    /// Users of the first partition.
    pub(crate) fn neighbours(&self, count: usize) -> Vec<u32> {
        let at_home = |number: &u32| self.partition(&self.user(*number)).0 == 0;
        (0..).filter(at_home).take(count).collect()
    }

    pub(crate) async fn register(&self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let name = format!("user-{number}");
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            let event = registered(self.user(number).id, &name, "eu-west", hash);
            self.append(number, &event, None).await;
        }
    }

    pub(crate) async fn rename(&self, number: u32, name: &str) {
        self.append(number, &renamed(name), None).await;
    }

    /// An event of a version that no binary knows.
    pub(crate) async fn poison(&self, number: u32) {
        self.append(number, &renamed("poison"), Some(99)).await;
    }

    async fn append(&self, number: u32, event: &UserEvent, version: Option<i32>) {
        let id = self.user(number).id;
        let mut recorded: RecordedEvent =
            self.history
                .lock()
                .expect("the stage is sound")
                .record(&self.tenant, id, event);
        recorded.event_version = version.unwrap_or(recorded.event_version);
        let mut transaction = self.pool.begin().await.expect("the stage is sound");
        sqlx::query(MOVE_HEAD)
            .bind(recorded.address.partition.as_i32())
            .bind(recorded.address.position)
            .bind(recorded.recorded_at)
            .execute(&mut *transaction)
            .await
            .expect("the stage is sound");
        sqlx::query(INSERT)
            .bind(recorded.address.position)
            .bind(recorded.stream_no)
            .bind(recorded.sequence)
            .bind(recorded.recorded_at)
            .bind(recorded.address.partition.as_i32())
            .bind(recorded.event_version)
            .bind(recorded.event_id)
            .bind(recorded.tenant.as_str())
            .bind(&recorded.aggregate_type)
            .bind(&recorded.aggregate_id)
            .bind(&recorded.routing_key)
            .bind(&recorded.event_type)
            .bind(recorded.payload.get())
            .execute(&mut *transaction)
            .await
            .expect("the stage is sound");
        transaction.commit().await.expect("the stage is sound");
    }

    pub(crate) fn keys(&self) -> Keyspace {
        cached::keyspace(self.namespace.clone(), 1, 1)
    }

    pub(crate) fn value_key(&self, number: u32) -> ValueKey {
        cached::value_key(&self.keys(), &self.user(number))
    }

    /// What stands in `applied`, believed or not.
    pub(crate) async fn mark(&self, partition: Partition) -> Option<Mark> {
        let mut redis = self.redis().await;
        let applied = self.keys().applied(partition);
        let mut get = redis::cmd("GET");
        let text: Option<String> = get
            .arg(applied)
            .query_async(&mut redis)
            .await
            .expect("the stage is sound");
        Mark::parse(&text?)
    }

    /// What a reader may show, with the position that it is good for; nothing for a miss.
    pub(crate) async fn read(&self, number: u32) -> Option<(UserRow, i64)> {
        let user = self.user(number);
        let (mut redis, keys) = (self.redis().await, self.keys());
        let key = cached::value_key(&keys, &user);
        let applied = [keys.applied(self.partition(&user))];
        let mut info = redis::cmd("INFO");
        let info: String = info
            .arg("server")
            .query_async(&mut redis)
            .await
            .expect("the stage is sound");
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let (marks, values): LookedUp = commands::look_up(&applied, std::slice::from_ref(&key))
            .query_async(&mut redis)
            .await
            .expect("the stage is sound");
        let mark = Mark::parse(marks[0].as_deref()?)?;
        if !mark.is_of_run(run_id.expect("the stage is sound").trim()) {
            return None;
        }
        match envelope::open(&key, mark.epoch, values[0].as_deref()?) {
            Opened::Value(envelope, body) => {
                let as_of = envelope.as_of.entries()[0].address.position;
                let row = cached::decode(&user, body).expect("a row of this user");
                Some((row, as_of.max(mark.position)))
            }
            Opened::Cold => None,
            Opened::Foreign => panic!("a foreign value"),
        }
    }

    pub(crate) async fn name(&self, number: u32) -> Option<String> {
        self.read(number).await.and_then(|(row, _)| row.name)
    }

    /// The sum of the heads that are not applied yet.
    pub(crate) async fn behind(&self) -> i64 {
        let sum = "select coalesce(sum(h.position - c.position), -1)::bigint
            from projection.checkpoint c join event_store.partition_head h using (partition)
            join projection.generation g using (projection, generation)
            where g.state = 'active'";
        sqlx::query_scalar(sum)
            .fetch_one(&self.pool)
            .await
            .expect("the stage is sound")
    }

    /// Steps until the rows are at the heads and Redis vouches for all of them.
    pub(crate) async fn settle(&self, projector: &mut Projector) {
        let begun = Instant::now();
        loop {
            projector.engine.step().await;
            let followed = projector.follower.step().await;
            let holds = projector.engine.holds("user_view").len();
            if followed && holds == 4 && self.behind().await == 0 && self.vouched().await {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not settle");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn vouched(&self) -> bool {
        let heads: Vec<i64> = sqlx::query_scalar(
            "select position from event_store.partition_head order by partition",
        )
        .fetch_all(&self.pool)
        .await
        .expect("the stage is sound");
        for (partition, head) in (0..).map(Partition).zip(heads) {
            let mark = self.mark(partition).await;
            if mark.is_none_or(|mark| mark.position != head) {
                return false;
            }
        }
        true
    }
}

fn renamed(name: &str) -> UserEvent {
    UserEvent::UserProfileUpdated(UserProfileUpdated {
        name: Some(Personal::Plain(name.to_owned())),
        region: None,
        bio: Patch::Keep,
        avatar_url: Patch::Keep,
        updated_at: minute(1),
    })
}
