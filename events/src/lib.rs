//! The published language of Runnel: what is stored for ever, what travels between the services,
//! and the few value objects that they all must read the same way.
//!
//! | module | what it holds |
//! |---|---|
//! | [`address`] | where an event stands: partition and position, and how a routing key finds its partition |
//! | [`incarnation`] | which history of the store an address belongs to, and which addresses are void |
//! | [`token`] | the consistency token that clients hold |
//! | [`scope`] | on whose behalf data is touched: tenant, principal, role |
//! | [`stream`], [`event`] | stream names, events before and after they are stored |
//! | [`record`] | the topic contract: how an event travels through Kafka |
//! | [`personal`] | the mark on fields that erasure must be able to reach |
//! | [`user`], [`user_fields`] | the events of a user and the value objects they are made from |
//! | [`catalog`] | every event type and version ever stored, its decoding and its JSON Schema |

pub mod address;
pub mod catalog;
pub mod event;
pub mod incarnation;
mod murmur2;
pub mod personal;
pub mod record;
pub mod scope;
pub mod stream;
pub mod token;
pub mod user;
pub mod user_fields;

pub use address::{Address, Partition, PartitionCount};
pub use catalog::{DecodeError, decode};
pub use event::{EventRef, Metadata, NewEvent, RecordedEvent};
pub use incarnation::{Incarnation, IncarnationLog};
pub use personal::Personal;
pub use record::{ForeignRecord, Record};
pub use scope::{Role, Scope, TenantId};
pub use stream::StreamId;
pub use token::{ConsistencyToken, TokenEntry};
pub use user::{Patch, UserEvent};
