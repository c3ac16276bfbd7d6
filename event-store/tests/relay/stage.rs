//! A store, a topic, and relays between them that are stepped by hand.

use std::time::Duration;

use event_store::entry::{Entry, Verdict, Write};
use event_store::relay::{Outcome, Relay, RelaySettings, Target};
use event_store::{AppendSettings, Appender, EventStore};
use events::event::NewEvent;
use events::{Metadata, Partition, PartitionCount, Role, Scope, StreamId, TenantId};
use serde_json::value::to_raw_value;
use sqlx::PgPool;
use testkit::database::TEST_PARTITIONS;
use testkit::{TestDatabase, TestTopic, eventually, topic_log};
use uuid::Uuid;

/// How long a partition may take to come to rest, on a busy machine.
const REST_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) topic: TestTopic,
    pub(crate) store: EventStore,
    pub(crate) appender: Appender,
}

impl Stage {
    pub(crate) async fn create() -> Self {
        Self::on(TestTopic::create().await).await
    }

    pub(crate) async fn on(topic: TestTopic) -> Self {
        let database = TestDatabase::create().await;
        let count = PartitionCount::new(TEST_PARTITIONS).expect("a count");
        EventStore::create(&database.pool(), count, "fingerprint")
            .await
            .expect("a store");
        let store = EventStore::open(database.pool()).await.expect("a store");
        let settings = AppendSettings::default();
        let appender = Appender::start(store.clone(), database.options(), settings);
        Self {
            database,
            topic,
            store,
            appender: appender.expect("an appender"),
        }
    }

    pub(crate) fn pool(&self) -> PgPool {
        self.database.pool()
    }

    /// A relay with short waits that reads from the store.
    pub(crate) fn relay(&self) -> Relay {
        self.relay_with(settings(), None)
    }

    pub(crate) fn relay_with(&self, settings: RelaySettings, appender: Option<&Appender>) -> Relay {
        let target = Target {
            brokers: self.topic.brokers().to_owned(),
            topic: self.topic.name().to_owned(),
        };
        Relay::new(&self.store, self.pool(), target, settings, appender)
    }

    /// Appends `count` events to a new stream.
    pub(crate) async fn append(&self, count: usize) {
        self.append_to(Uuid::new_v4(), count, "").await;
    }

    /// Appends `count` events with this text to a new user's stream.
    pub(crate) async fn append_to(&self, user: Uuid, count: usize, text: &str) {
        let scope = Scope {
            tenant: TenantId::parse("acme").expect("a tenant"),
            principal: "tester".to_owned(),
            role: Role::Admin,
        };
        let stream = StreamId::user(&scope.tenant, user);
        let loaded = self.store.load(&scope, &stream, 0).await.expect("a load");
        let entry = Entry {
            partition: stream.partition(self.store.partitions()),
            scope,
            mark: loaded.mark,
            conditions: vec![],
            writes: vec![Write {
                stream,
                expected: 0,
                events: (0..count).map(|_| happened(text)).collect(),
            }],
            take: vec![],
            release: vec![],
            outcome: None,
        };
        let verdict = self.appender.append(entry).await.expect("a verdict");
        assert!(matches!(verdict, Verdict::Appended { .. }), "{verdict:?}");
    }

    /// The topic holds what the store holds; says how many duplicates it holds besides.
    pub(crate) async fn assert_relayed(&self) -> usize {
        topic_log::check(&self.topic, &self.pool())
            .await
            .unwrap_or_else(|(partition, finding)| panic!("partition {partition}: {finding:?}"))
    }

    /// A user whose stream is in this partition.
    pub(crate) fn user_in(&self, partition: u16) -> Uuid {
        let tenant = TenantId::parse("acme").expect("a tenant");
        let home = |user: &Uuid| StreamId::user(&tenant, *user).partition(self.store.partitions());
        (1..)
            .map(Uuid::from_u128)
            .find(|user| home(user) == Partition(partition))
            .expect("some user lives there")
    }
}

pub(crate) fn settings() -> RelaySettings {
    RelaySettings {
        in_flight_max: 100,
        silence_max: Duration::from_secs(10),
        ..RelaySettings::default()
    }
}

fn happened(text: &str) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "Happened",
        event_version: 1,
        payload: to_raw_value(&serde_json::json!({ "text": text })).expect("json"),
        metadata: to_raw_value(&Metadata::default()).expect("json"),
    }
}

/// Steps every partition until all are at rest.
pub(crate) async fn relay_all(relay: &Relay) {
    relay.tend().await.expect("the leases");
    for partition in relay.partitions_held() {
        let at_rest = eventually(REST_WITHIN, || async move {
            match relay.step(partition).await {
                Outcome::Idle => Ok(()),
                other => Err(other),
            }
        });
        at_rest.await;
    }
    relay.tend().await.expect("the marks");
}

/// The first step of a partition that comes to `wanted`.
pub(crate) async fn step_until(relay: &Relay, partition: u16, wanted: fn(&Outcome) -> bool) {
    let reached = eventually(REST_WITHIN, || async move {
        let outcome = relay.step(Partition(partition)).await;
        wanted(&outcome).then_some(()).ok_or(outcome)
    });
    reached.await;
}
