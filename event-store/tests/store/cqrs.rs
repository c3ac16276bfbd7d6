//! What cqrs-es and postgres-es do here: a stream is loaded through the view, and every event is
//! applied exactly once.

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::PersistedEventRepository;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope};
use event_store::Verdict;
use event_store::entry::{Entry, Write};
use events::{NewEvent, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::support::{Fixture, Node, count, entry, scope};

/// Applying an event twice, or not at all, shows in the sum.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    sum: i64,
    applied: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum CounterEvent {
    Added { amount: i64 },
    Doubled { by: String },
}

impl DomainEvent for CounterEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Added { .. } => "Added".to_owned(),
            Self::Doubled { .. } => "Doubled".to_owned(),
        }
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a counter refuses nothing")]
struct Never;

impl Aggregate for Counter {
    const TYPE: &'static str = "counter";
    type Command = Vec<CounterEvent>;
    type Event = CounterEvent;
    type Error = Never;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Never> {
        for event in command {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CounterEvent) {
        self.applied += 1;
        match event {
            CounterEvent::Added { amount } => self.sum += amount,
            CounterEvent::Doubled { .. } => self.sum *= 2,
        }
    }
}

fn counter(tenant: &str) -> StreamId {
    StreamId {
        aggregate_type: Counter::TYPE,
        tenant: scope(tenant).tenant,
        id: "the-same-id".to_owned(),
        routing_key: "the-same-id".to_owned(),
    }
}

/// The payload is the event's own struct; its name stands beside it.
fn stored(event: &CounterEvent) -> NewEvent {
    let tagged = serde_json::to_value(event).expect("json");
    let (name, payload) = tagged
        .as_object()
        .and_then(|map| map.iter().next())
        .expect("a tag");
    NewEvent {
        event_id: Uuid::now_v7(),
        event_type: if name == "Added" { "Added" } else { "Doubled" },
        event_version: 1,
        payload: to_raw_value(payload).expect("json"),
        metadata: to_raw_value(&serde_json::json!({"principal": "tester"})).expect("json"),
    }
}

async fn append(node: &Node, stream: &StreamId, events: &[CounterEvent]) -> Verdict {
    let loaded = node
        .store
        .load(&scope(stream.tenant.as_str()), stream, 0)
        .await
        .expect("a load");
    let expected = loaded.events.last().map_or(0, |event| event.sequence);
    let mut entry: Entry = entry(loaded.mark, stream).into();
    let events = events.iter().map(stored).collect();
    entry.writes.push(Write {
        stream: stream.clone(),
        expected,
        events,
    });
    node.append(entry).await.expect("a verdict")
}

/// Folds what postgres-es loads.
async fn folded(node: &Node, stream: &StreamId) -> Counter {
    let events = node
        .store
        .cqrs_events()
        .get_events::<Counter>(&stream.name())
        .await
        .expect("events");
    let mut counter = Counter::default();
    for (event, sequence) in events.into_iter().zip(1..) {
        assert_eq!(event.sequence, sequence);
        assert_eq!(event.metadata["principal"], "tester");
        let envelope: EventEnvelope<Counter> = event.try_into().expect("an event of the counter");
        counter.apply(envelope.payload);
    }
    counter
}

#[tokio::test]
async fn a_counting_aggregate_is_the_same_through_postgres_es_and_never_crosses_a_tenant() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (acme, globex) = (counter("acme"), counter("globex"));
    let double = CounterEvent::Doubled {
        by: "tester".to_owned(),
    };
    let add = |amount| CounterEvent::Added { amount };
    let mut expected = Counter::default();
    for round in 1..=20 {
        let events = [add(round), double.clone(), add(-round * 3)];
        append(&node, &acme, &events).await;
        events.into_iter().for_each(|event| expected.apply(event));
        append(&node, &globex, &[add(1)]).await;
    }
    assert_eq!(folded(&node, &acme).await, expected);
    assert_eq!(
        folded(&node, &globex).await,
        Counter {
            sum: 20,
            applied: 20
        }
    );
    assert_eq!(folded(&node, &counter("nobody")).await, Counter::default());
    let last = node
        .store
        .cqrs_events()
        .get_last_events::<Counter>(&acme.name(), 58)
        .await;
    assert_eq!(last.expect("events").len(), 2);
    // Our own loading gives the same events, byte for byte.
    let loaded = node
        .store
        .load(&scope("acme"), &acme, 0)
        .await
        .expect("a load");
    assert_eq!(loaded.events.len(), expected.applied);
    assert_eq!(loaded.events[0].payload.get(), r#"{"amount":1}"#);
    assert_eq!(loaded.events[0].address.partition, acme.partition(count()));
}

#[tokio::test]
async fn a_stream_is_loaded_through_the_view_by_two_index_scans() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    for _ in 0..3 {
        append(
            &node,
            &counter("acme"),
            &[CounterEvent::Added { amount: 1 }],
        )
        .await;
    }
    let pool = fixture.database.pool();
    let mut connection = pool.acquire().await.expect("a connection");
    sqlx::query("set enable_seqscan = off")
        .execute(&mut *connection)
        .await
        .expect("a setting");
    let plan: Vec<String> = sqlx::query_scalar(
        "explain (costs off) select sequence from event_store.cqrs_event
        where aggregate_type = 'counter' and aggregate_id = 'acme/the-same-id' order by sequence",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("a plan");
    let plan = plan.join("\n");
    assert_eq!(
        plan.matches("Index").count(),
        4,
        "two scans with their conditions:\n{plan}"
    );
    assert!(!plan.contains("Seq Scan"), "{plan}");
}
