//! The decide loop on a real store: a counting aggregate whose `apply` cannot hide an event that
//! was applied twice or not at all.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use event_store::aggregates::{
    AggregateSettings, Aggregates, Codec, DECIDE_AGAIN_MAX, EncodedEvent, ExecuteError, Executed,
    Presence, Ruling, Seen, Target,
};
use event_store::{AppendSettings, Appender, EventStore, PartitionCount};
use events::{DecodeError, Metadata, Role, Scope, StreamId, TenantId};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use testkit::TestDatabase;
use testkit::database::TEST_PARTITIONS;
use uuid::Uuid;

/// How often something was counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counter {
    total: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counted(i64);

impl DomainEvent for Counted {
    fn event_type(&self) -> String {
        "Counted".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Counter {
    const TYPE: &'static str = "user";
    type Command = i64;
    type Event = Counted;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: i64,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        sink.write(Counted(command), self).await;
        Ok(())
    }

    fn apply(&mut self, Counted(by): Counted) {
        self.total += by;
    }
}

fn decode(event_type: &str, version: i32, payload: &str) -> Result<Counted, DecodeError> {
    serde_json::from_str(payload).map_err(|_| DecodeError::UnknownVersion {
        event_type: event_type.to_owned(),
        version,
    })
}

fn encode(event: &Counted) -> serde_json::Result<EncodedEvent> {
    let payload = serde_json::value::to_raw_value(event)?;
    Ok(EncodedEvent {
        event_type: "Counted",
        event_version: 1,
        payload,
    })
}

/// A process: its own lanes, its own cache.
struct Node {
    counters: Aggregates<Counter>,
    appender: Appender,
}

struct Fixture {
    database: TestDatabase,
}

impl Fixture {
    async fn create() -> Self {
        let database = TestDatabase::create().await;
        let partitions = PartitionCount::new(TEST_PARTITIONS).expect("a count");
        EventStore::create(&database.pool(), partitions, "test")
            .await
            .expect("a store");
        Self { database }
    }

    async fn node(&self) -> Node {
        self.node_with_cache(1 << 20).await
    }

    async fn node_with_cache(&self, cache_bytes_max: u64) -> Node {
        let store = EventStore::open(self.database.pool())
            .await
            .expect("a store");
        let options = self.database.options();
        let appender = Appender::start(store.clone(), options, AppendSettings::default());
        let appender = appender.expect("lanes");
        let settings = AggregateSettings {
            cache_bytes_max,
            mailbox_max: 64,
        };
        let codec = Codec { decode, encode };
        let counters = Aggregates::new(store, appender.clone(), codec, settings);
        Node { counters, appender }
    }
}

fn scope(tenant: &str) -> Scope {
    Scope {
        tenant: TenantId::parse(tenant).expect("a tenant"),
        principal: "tests".to_owned(),
        role: Role::Admin,
    }
}

fn stream(scope: &Scope, number: u128) -> StreamId {
    StreamId::user(&scope.tenant, Uuid::from_u128(number))
}

fn ruling<R>(events: Vec<Counted>, answer: R) -> Ruling<Counted, R> {
    Ruling {
        events,
        take: vec![],
        release: vec![],
        outcome: None,
        answer,
    }
}

impl Node {
    /// Counts on, with two events a command; answers the total that was decided on.
    async fn count(&self, scope: &Scope, number: u128) -> Result<i64, ExecuteError> {
        let stream = stream(scope, number);
        let target = Target {
            scope,
            stream: &stream,
            presence: Presence::Unknown,
        };
        let decide =
            |seen: Seen<'_, Counter>, _| ruling(vec![Counted(1), Counted(2)], seen.state.total);
        match self
            .counters
            .execute(target, &Metadata::default(), decide)
            .await?
        {
            Executed::Taken { answer, .. } => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    /// Counts on a stream that is not expected to be there.
    async fn create(&self, scope: &Scope, number: u128) -> Executed<()> {
        let stream = stream(scope, number);
        let target = Target {
            scope,
            stream: &stream,
            presence: Presence::Unexpected,
        };
        let decide = |_: Seen<'_, Counter>, _| ruling(vec![Counted(1), Counted(2)], ());
        let metadata = Metadata::default();
        let executed = self.counters.execute(target, &metadata, decide).await;
        executed.expect("an end")
    }

    /// What a command that changes nothing sees.
    async fn total(&self, scope: &Scope, number: u128) -> (i64, i64) {
        let stream = stream(scope, number);
        let target = Target {
            scope,
            stream: &stream,
            presence: Presence::Unknown,
        };
        let decide = |seen: Seen<'_, Counter>, _| ruling(vec![], seen.state.total);
        match self
            .counters
            .execute(target, &Metadata::default(), decide)
            .await
        {
            Ok(Executed::Taken {
                answer, version, ..
            }) => (answer, version),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_nodes_that_count_at_once_count_every_command_once() {
    let fixture = Fixture::create().await;
    let (one, two) = (fixture.node().await, fixture.node().await);
    let scope = scope("acme");
    // The first event creates the stream; a second creator would be told that the id is taken.
    one.count(&scope, 1).await.expect("counted");
    let commands = (0..40).map(|number| {
        let node = if number % 2 == 0 { &one } else { &two };
        node.count(&scope, 1)
    });
    let ends = join_all(commands).await;
    let contended = |end: &&Result<_, _>| matches!(end, Err(ExecuteError::Contended));
    let undone = ends.iter().filter(contended).count();
    let mut seen: Vec<i64> = ends.into_iter().filter_map(Result::ok).collect();
    assert_eq!(seen.len() + undone, 40);
    seen.sort_unstable();
    let each_once: Vec<i64> = (1..).map(|n| 3 * n).take(seen.len()).collect();
    assert_eq!(seen, each_once, "each decision stood on a total of its own");
    let done = i64::try_from(seen.len()).expect("a small number") + 1;
    for node in [one, two] {
        assert_eq!(node.total(&scope, 1).await, (3 * done, 2 * done));
        node.appender.shutdown().await;
    }
}

#[tokio::test]
async fn a_stale_state_takes_the_tail_over_and_nothing_twice() {
    let fixture = Fixture::create().await;
    let (stale, other) = (fixture.node().await, fixture.node().await);
    let scope = scope("acme");
    stale.count(&scope, 1).await.expect("counted");
    for _ in 0..7 {
        other.count(&scope, 1).await.expect("counted");
    }
    assert_eq!(stale.total(&scope, 1).await, (24, 16));
    assert_eq!(stale.count(&scope, 1).await.expect("counted"), 24);
    assert_eq!(other.total(&scope, 1).await, (27, 18));
}

#[tokio::test]
async fn the_same_natural_id_in_two_tenants_is_two_aggregates() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (acme, beta) = (scope("acme"), scope("beta"));
    for _ in 0..3 {
        node.count(&acme, 1).await.expect("counted");
    }
    node.count(&beta, 1).await.expect("counted");
    assert_eq!(node.total(&acme, 1).await, (9, 6));
    assert_eq!(node.total(&beta, 1).await, (3, 2));
    let fresh = fixture.node().await;
    assert_eq!(fresh.total(&acme, 1).await, (9, 6));
    assert_eq!(fresh.total(&beta, 1).await, (3, 2));
}

#[tokio::test]
async fn a_creation_loads_nothing_and_learns_under_the_lock_that_its_id_is_taken() {
    let fixture = Fixture::create().await;
    let scope = scope("acme");
    let before = fixture.node().await;
    before.count(&scope, 1).await.expect("counted");
    // Its lanes begin behind that event, so their windows do not have it.
    let node = fixture.node().await;
    node.count(&scope, 2).await.expect("counted");
    assert!(matches!(node.create(&scope, 1).await, Executed::IdTaken));
    let created = node.create(&scope, 3).await;
    assert!(
        matches!(created, Executed::Taken { version: 2, .. }),
        "{created:?}"
    );
    // What is in memory is not taken for absent.
    let again = node.create(&scope, 3).await;
    assert!(
        matches!(again, Executed::Taken { version: 4, .. }),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_moves_each_time_is_given_up_after_six_attempts() {
    let fixture = Fixture::create().await;
    let (one, other) = (fixture.node().await, fixture.node().await);
    let scope = scope("acme");
    one.count(&scope, 1).await.expect("counted");
    let stream = stream(&scope, 1);
    let target = Target {
        scope: &scope,
        stream: &stream,
        presence: Presence::Unknown,
    };
    let mut attempts = 0;
    let decide = |_: Seen<'_, Counter>, _| {
        attempts += 1;
        // While this node decides, the other one is always faster.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current()
                .block_on(other.count(&scope, 1))
                .expect("counted");
        });
        ruling(vec![Counted(100)], ())
    };
    let end = one
        .counters
        .execute(target, &Metadata::default(), decide)
        .await;
    assert!(matches!(end, Err(ExecuteError::Contended)));
    assert_eq!(attempts, DECIDE_AGAIN_MAX + 1);
    let counted = i64::from(attempts) + 1;
    assert_eq!(one.total(&scope, 1).await, (3 * counted, 2 * counted));
}

#[tokio::test]
async fn a_fork_of_the_store_empties_the_cache_and_the_command_is_decided_again() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let scope = scope("acme");
    node.count(&scope, 1).await.expect("counted");
    event_store::incarnation::fork(&fixture.database.pool(), 0)
        .await
        .expect("a fork");
    assert_eq!(node.count(&scope, 1).await.expect("counted"), 3);
    assert_eq!(node.total(&scope, 1).await, (6, 4));
}

#[tokio::test]
async fn what_a_full_cache_lets_go_is_loaded_again_and_counts_the_same() {
    let fixture = Fixture::create().await;
    let scope = scope("acme");
    // Room for no aggregate, and for about two.
    for (tenth, cache_bytes_max) in [(0, 0), (1, 1 << 10)] {
        let node = fixture.node_with_cache(cache_bytes_max).await;
        for round in 0..3 {
            for number in 0..10 {
                let total = node.count(&scope, 10 * tenth + number).await;
                assert_eq!(total.expect("counted"), 3 * round);
            }
        }
        for number in 0..10 {
            assert_eq!(node.total(&scope, 10 * tenth + number).await, (9, 6));
        }
        node.appender.shutdown().await;
    }
}
