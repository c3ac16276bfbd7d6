//! Appends events as a command does: by a lane, which tells other processes.

use event_store::entry::{Entry, Verdict, Write};
use event_store::{AppendSettings, Appender, EventStore};
use events::event::NewEvent;
use events::{Metadata, Role, Scope, StreamId, UserEvent};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::world::World;

/// Appends to one user's stream by a lane of this process.
pub(crate) struct Writer {
    store: EventStore,
    appender: Appender,
    scope: Scope,
    stream: StreamId,
}

impl Writer {
    pub(crate) async fn start(world: &World, id: Uuid) -> Self {
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

    pub(crate) async fn append(&self, event: &UserEvent) {
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
