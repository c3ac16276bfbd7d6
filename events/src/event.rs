//! An event before and after it is stored.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::address::Address;
use crate::scope::TenantId;

/// The most bytes that one event's payload may have: 256 KiB, refused at the edge.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// What is stored beside the payload; flat texts, so that cqrs-es reads it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The request that caused the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The W3C trace context of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// An event that was decided and is not stored yet. Payload and metadata are JSON texts already, so
/// that the append never serialises under a lock.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its id, made by the service that decided it (uuid v7: ordered keys are 46 % cheaper to
    /// insert than random ones).
    pub event_id: Uuid,
    /// Its type, such as `UserRegistered`.
    pub event_type: &'static str,
    /// The version of its payload's shape.
    pub event_version: i32,
    /// The payload, JSON.
    pub payload: Box<RawValue>,
    /// The metadata, JSON.
    pub metadata: Box<RawValue>,
}

/// An event as it stands in the store.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// Where it stands.
    pub address: Address,
    /// The position of its stream's first event in the same partition.
    pub stream_no: i64,
    /// Its number in its stream, from 1; also the stream's version after it.
    pub sequence: i64,
    /// Its id.
    pub event_id: Uuid,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The kind of aggregate, such as `user`.
    pub aggregate_type: String,
    /// The aggregate's id.
    pub aggregate_id: String,
    /// What it is ordered by.
    pub routing_key: String,
    /// Its type, such as `UserRegistered`.
    pub event_type: String,
    /// The version of its payload's shape.
    pub event_version: i32,
    /// The payload, JSON, byte for byte as it was appended.
    pub payload: Box<RawValue>,
    /// The metadata, JSON.
    pub metadata: Box<RawValue>,
    /// The store's clock under the partition's lock; it never goes back in a partition.
    pub recorded_at: DateTime<Utc>,
}

/// A recorded event as a fold and a digest look at it: borrowed from wherever it was read, without
/// what neither of them needs. (A rebuild reads every event there is, and owns none.)
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the fields are those of a recorded event")]
pub struct EventRef<'e> {
    pub address: Address,
    pub stream_no: i64,
    pub sequence: i64,
    pub event_id: Uuid,
    pub tenant: &'e str,
    pub aggregate_type: &'e str,
    pub aggregate_id: &'e str,
    pub event_type: &'e str,
    pub event_version: i32,
    pub payload: &'e str,
    pub recorded_at: DateTime<Utc>,
}

impl RecordedEvent {
    /// The event, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> EventRef<'_> {
        EventRef {
            address: self.address,
            stream_no: self.stream_no,
            sequence: self.sequence,
            event_id: self.event_id,
            tenant: self.tenant.as_str(),
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            event_type: &self.event_type,
            event_version: self.event_version,
            payload: self.payload.get(),
            recorded_at: self.recorded_at,
        }
    }
}
