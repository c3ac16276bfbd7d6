//! A store with one or more nodes on it, and short ways to make entries.

use std::time::Duration;

use event_store::entry::{
    Answer, Claim, Condition, Entry, KeyedOutcome, OutcomeKey, ReadMark, Verdict, Write,
};
use event_store::{AppendError, AppendSettings, Appender, EventStore};
use events::event::NewEvent;
use events::{Metadata, PartitionCount, Role, Scope, StreamId, TenantId};
use futures_util::future::{join, join_all};
use serde_json::value::to_raw_value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};
use testkit::{TestDatabase, eventually};
use uuid::Uuid;

pub(crate) const PARTITIONS: u16 = 4;

/// A store of its own.
pub(crate) struct Fixture {
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn create() -> Self {
        let database = TestDatabase::create().await;
        EventStore::create(&database.pool(), count(), "fingerprint")
            .await
            .expect("a store");
        Self { database }
    }

    /// A node with the default bounds.
    pub(crate) async fn node(&self) -> Node {
        self.node_with(AppendSettings::default()).await
    }

    pub(crate) async fn node_with(&self, settings: AppendSettings) -> Node {
        Node::start(self.database.options(), self.database.options(), settings).await
    }
}

/// What one process has: its own caches, its own lanes.
pub(crate) struct Node {
    pub(crate) store: EventStore,
    pub(crate) appender: Appender,
}

impl Node {
    /// `lanes` may lead through a proxy.
    pub(crate) async fn start(
        reads: PgConnectOptions,
        lanes: PgConnectOptions,
        settings: AppendSettings,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(reads);
        let store = EventStore::open(pool).await.expect("a store");
        let appender = Appender::start(store.clone(), lanes, settings).expect("an appender");
        Self { store, appender }
    }

    pub(crate) async fn append(&self, entry: Entry) -> Result<Verdict, AppendError> {
        self.appender.append(entry).await
    }

    /// Loads the stream and says at which version and head it stands.
    pub(crate) async fn look(&self, stream: &StreamId) -> (ReadMark, i64) {
        let loaded = self
            .store
            .load(&scope(stream.tenant.as_str()), stream, 0)
            .await
            .expect("a load");
        let version = loaded.events.last().map_or(0, |event| event.sequence);
        (loaded.mark, version)
    }

    /// Appends `count` events to the stream as it stands.
    pub(crate) async fn grow(&self, stream: &StreamId, count: usize) -> Verdict {
        let (mark, version) = self.look(stream).await;
        let entry = entry(mark, stream).write(stream, version, count);
        self.append(entry.into()).await.expect("a verdict")
    }
}

pub(crate) fn count() -> PartitionCount {
    PartitionCount::new(PARTITIONS).expect("a count")
}

pub(crate) fn scope(tenant: &str) -> Scope {
    Scope {
        tenant: TenantId::parse(tenant).expect("a tenant"),
        principal: "tester".to_owned(),
        role: Role::Admin,
    }
}

/// A user of the tenant `acme` by number; its partition is whatever its id says.
pub(crate) fn user(number: u128) -> StreamId {
    StreamId::user(&scope("acme").tenant, Uuid::from_u128(number))
}

/// A stream that lives in the same partition as every other with this routing key.
pub(crate) fn routed(id: &str, routing_key: &str) -> StreamId {
    StreamId {
        aggregate_type: "test",
        tenant: scope("acme").tenant,
        id: id.to_owned(),
        routing_key: routing_key.to_owned(),
    }
}

pub(crate) fn happened() -> NewEvent {
    let event_id = Uuid::now_v7();
    NewEvent {
        event_id,
        event_type: "Happened",
        event_version: 1,
        payload: to_raw_value(&serde_json::json!({ "n": event_id.as_u128() as u32 }))
            .expect("json"),
        metadata: to_raw_value(&Metadata::default()).expect("json"),
    }
}

pub(crate) fn claim(key: u8, owner: &str) -> Claim {
    Claim {
        kind: "email",
        key_hash: [key; 32],
        key_version: 1,
        owner: owner.to_owned(),
    }
}

/// An entry in the making; its partition is that of `first`.
pub(crate) struct EntryBuilder(Entry);

pub(crate) fn entry(mark: ReadMark, first: &StreamId) -> EntryBuilder {
    EntryBuilder(Entry {
        scope: scope(first.tenant.as_str()),
        partition: first.partition(count()),
        mark,
        conditions: vec![],
        writes: vec![],
        take: vec![],
        release: vec![],
        outcome: None,
    })
}

impl EntryBuilder {
    pub(crate) fn write(mut self, stream: &StreamId, expected: i64, events: usize) -> Self {
        self.0.writes.push(Write {
            stream: stream.clone(),
            expected,
            events: (0..events).map(|_| happened()).collect(),
        });
        self
    }

    pub(crate) fn given(mut self, stream: &StreamId, version: i64) -> Self {
        self.0.conditions.push(Condition {
            stream: stream.clone(),
            version,
        });
        self
    }

    pub(crate) fn take(mut self, claim: Claim) -> Self {
        self.0.take.push(claim);
        self
    }

    pub(crate) fn release(mut self, claim: Claim) -> Self {
        self.0.release.push(claim);
        self
    }

    pub(crate) fn keyed(mut self, key: &str, request: u8) -> Self {
        let answer = |status, code| Answer {
            status,
            code,
            id: Some("the-id".to_owned()),
        };
        self.0.outcome = Some(KeyedOutcome {
            key: OutcomeKey {
                principal: "tester".to_owned(),
                route: "POST /v1/tests",
                key: key.to_owned(),
            },
            fingerprint: [request; 32],
            decided: answer(201, None),
            claim_taken: answer(409, Some("email_taken")),
            id_taken: answer(409, Some("id_taken")),
        });
        self
    }
}

impl From<EntryBuilder> for Entry {
    fn from(builder: EntryBuilder) -> Self {
        builder.0
    }
}

/// Holds the locks of all heads, so that what is sent meanwhile waits and becomes one batch.
pub(crate) struct Blocker(sqlx::PgConnection);

impl Blocker {
    pub(crate) async fn hold(fixture: &Fixture) -> Self {
        let mut connection = fixture
            .database
            .options()
            .connect()
            .await
            .expect("a connection");
        let lock = "begin; select from event_store.partition_head order by partition for update";
        connection.execute(lock).await.expect("the locks");
        Self(connection)
    }

    pub(crate) async fn release(mut self) {
        self.0.execute("rollback").await.expect("a rollback");
    }
}

/// Gives the entries to the node so that its one lane finds them all waiting: one batch, in this
/// order.
pub(crate) async fn append_together(
    fixture: &Fixture,
    node: &Node,
    entries: Vec<Entry>,
) -> Vec<Result<Verdict, AppendError>> {
    let blocker = Blocker::hold(fixture).await;
    let nobody = routed("nobody", "nobody");
    let (mark, _) = node.look(&nobody).await;
    let ahead = node.append(entry(mark, &nobody).given(&nobody, 0).into());
    let batch = async {
        eventually(Duration::from_secs(5), async || {
            match node.appender.queue_depths().as_slice() {
                [0] => Ok(()),
                depths => Err(depths.to_vec()),
            }
        })
        .await;
        let answers = join_all(entries.into_iter().map(|entry| node.append(entry)));
        let release = async {
            let waiting = node.appender.queue_depths();
            assert!(waiting[0] > 0, "the entries wait");
            blocker.release().await;
        };
        join(answers, release).await.0
    };
    let (ahead, answers) = join(ahead, batch).await;
    ahead.expect("a verdict");
    answers
}
