//! A log in memory: events as the store would record them, for tests that fold and have no store.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use events::stream::StreamId;
use events::user::{UserActivityRecorded, UserEvent, UserRegistered};
use events::user_fields::EmailKey;
use events::{Address, PartitionCount, Personal, RecordedEvent, TenantId};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::database::TEST_PARTITIONS;

/// Gives out addresses and sequences as a store does.
#[derive(Debug)]
pub struct History {
    partitions: PartitionCount,
    heads: Vec<i64>,
    streams: HashMap<String, (i64, i64)>,
}

impl Default for History {
    fn default() -> Self {
        let partitions = PartitionCount::new(TEST_PARTITIONS).expect("a count");
        Self {
            partitions,
            heads: vec![0; usize::from(TEST_PARTITIONS)],
            streams: HashMap::new(),
        }
    }
}

impl History {
    /// Records one more event of a user.
    pub fn record(&mut self, tenant: &TenantId, id: Uuid, event: &UserEvent) -> RecordedEvent {
        let stream = StreamId::user(tenant, id);
        let partition = stream.partition(self.partitions);
        let head = &mut self.heads[partition.index()];
        *head += 1;
        let position = *head;
        let (stream_no, sequence) = self.streams.entry(stream.name()).or_insert((position, 0));
        *sequence += 1;
        RecordedEvent {
            address: Address {
                partition,
                position,
            },
            stream_no: *stream_no,
            sequence: *sequence,
            event_id: Uuid::now_v7(),
            tenant: tenant.clone(),
            aggregate_type: stream.aggregate_type.to_owned(),
            aggregate_id: stream.id,
            routing_key: stream.routing_key,
            event_type: event.type_name().to_owned(),
            event_version: event.version(),
            payload: event.payload().expect("an event is JSON"),
            metadata: RawValue::from_string("{}".to_owned()).expect("JSON"),
            recorded_at: minute(0),
        }
    }

    /// The head of each partition, by its number.
    #[must_use]
    pub fn heads(&self) -> &[i64] {
        &self.heads
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> PartitionCount {
        self.partitions
    }
}

/// A fixed day, and minutes after it.
#[must_use]
pub fn minute(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("a day") + TimeDelta::minutes(minutes)
}

/// A tenant.
#[must_use]
pub fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a tenant")
}

/// A user's first event, registered at minute 0 under the address `<name>@example.org`.
#[must_use]
pub fn registered(id: Uuid, name: &str, region: &str, hash: [u8; 32]) -> UserEvent {
    UserEvent::UserRegistered(UserRegistered {
        user_id: id,
        email: Personal::Plain(format!("{}@example.org", name.to_lowercase())),
        email_key: EmailKey {
            hash,
            key_version: 1,
        },
        name: Personal::Plain(name.to_owned()),
        region: region.to_owned(),
        bio: None,
        avatar_url: None,
        registered_at: minute(0),
    })
}

/// A user did something at that minute.
#[must_use]
pub fn active(minutes: i64) -> UserEvent {
    UserEvent::UserActivityRecorded(UserActivityRecorded {
        active_at: minute(minutes),
    })
}
