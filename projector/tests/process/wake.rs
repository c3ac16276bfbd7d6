//! An append in one process wakes the projector of another one, by PostgreSQL's notification.

use std::time::{Duration, Instant};

use event_store::entry::{Entry, Verdict, Write};
use event_store::{AppendSettings, Appender, EventStore};
use events::event::NewEvent;
use events::{Metadata, Role, Scope, StreamId, UserEvent};
use serde_json::value::to_raw_value;
use testkit::eventually;
use testkit::history::{active, registered};
use uuid::Uuid;

use crate::world::{PATIENCE, World};

const ROUNDS: usize = 20;

/// A partition that nobody wakes looks for itself a second after it had nothing to do.
const CLEARLY_WOKEN: Duration = Duration::from_millis(500);

/// Appends to one user's stream by a lane of this process.
struct Writer {
    store: EventStore,
    appender: Appender,
    scope: Scope,
    stream: StreamId,
}

impl Writer {
    async fn start(world: &World, id: Uuid) -> Self {
        let store = EventStore::open(world.pool.clone()).await.unwrap();
        let lanes = world.database.options();
        let appender = Appender::start(store.clone(), lanes, AppendSettings::default()).unwrap();
        let scope = Scope {
            tenant: world.tenant.clone(),
            principal: "tests".to_owned(),
            role: Role::Admin,
        };
        let stream = StreamId::user(&scope.tenant, id);
        Self {
            store,
            appender,
            scope,
            stream,
        }
    }

    async fn append(&self, event: &UserEvent) {
        let (scope, stream) = (&self.scope, &self.stream);
        let loaded = self.store.load(scope, stream, 0).await.unwrap();
        let event = NewEvent {
            event_id: Uuid::now_v7(),
            event_type: event.type_name(),
            event_version: event.version(),
            payload: event.payload().unwrap(),
            metadata: to_raw_value(&Metadata::default()).unwrap(),
        };
        let write = Write {
            stream: stream.clone(),
            expected: loaded.events.last().map_or(0, |last| last.sequence),
            events: vec![event],
        };
        let entry = Entry {
            scope: scope.clone(),
            partition: stream.partition(self.store.partitions()),
            mark: loaded.mark,
            conditions: vec![],
            writes: vec![write],
            take: vec![],
            release: vec![],
            outcome: None,
        };
        let verdict = self.appender.append(entry).await.unwrap();
        assert!(matches!(verdict, Verdict::Appended { .. }), "{verdict:?}");
    }
}

/// Waits until so many events are applied.
async fn applied(world: &World, events: i64) {
    eventually(PATIENCE, || async {
        let progress = world.progress().await;
        if progress == events {
            Ok(())
        } else {
            Err(progress)
        }
    })
    .await;
}

/// A busy machine may delay some of them.
fn assert_woken(mut took: Vec<Duration>) {
    took.sort_unstable();
    assert!(took[ROUNDS / 4] < CLEARLY_WOKEN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_wakes_the_projector_of_another_process_long_before_it_looks_for_itself() {
    let (world, id) = (World::new().await, Uuid::now_v7());
    // The look at the heads, which would find the event as well, comes once a minute.
    let _daemon = world.start_with(&["--source-silence-max", "60s"]);
    let writer = Writer::start(&world, id).await;
    writer
        .append(&registered(id, "Ann", "eu-west", [1; 32]))
        .await;
    applied(&world, 1).await;
    let mut took = Vec::new();
    for minute in 1..=i64::try_from(ROUNDS).unwrap() {
        let begun = Instant::now();
        writer.append(&active(minute)).await;
        applied(&world, minute + 1).await;
        took.push(begun.elapsed());
    }
    assert_woken(took);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_tells_of_is_found_after_source_silence_max() {
    let (mut world, id) = (World::new().await, Uuid::now_v7());
    let _daemon = world.start_with(&["--source-silence-max", "50ms"]);
    let created = registered(id, "Ann", "eu-west", [1; 32]);
    // By hand, so that no lane notifies anybody.
    world.append(vec![(id, created)]).await;
    applied(&world, 1).await;
    let mut took = Vec::new();
    for minute in 1..=i64::try_from(ROUNDS).unwrap() {
        let begun = Instant::now();
        world.append(vec![(id, active(minute))]).await;
        applied(&world, minute + 1).await;
        took.push(begun.elapsed());
    }
    assert_woken(took);
}
