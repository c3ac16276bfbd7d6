//! What goes into the decide loop and what comes out of it.

use events::{ConsistencyToken, DecodeError, Scope, StreamId};
use serde_json::value::RawValue;

use super::{DECIDE_AGAIN_MAX, MailboxFull};
use crate::entry::{AppendError, Claim, KeyedOutcome, StoredOutcome};
use crate::store::ReadError;

/// How the events of an aggregate are written and read.
pub struct Codec<E> {
    /// Reads type, version and payload.
    pub decode: fn(&str, i32, &str) -> Result<E, DecodeError>,
    /// Writes an event's type, version and payload.
    pub encode: fn(&E) -> serde_json::Result<EncodedEvent>,
}

/// An event as the store takes it, without id and metadata.
pub struct EncodedEvent {
    /// Its type, such as `UserRegistered`.
    pub event_type: &'static str,
    /// The version of its payload's shape.
    pub event_version: i32,
    /// The payload, JSON.
    pub payload: Box<RawValue>,
}

/// Bounds of the aggregates that are kept and of the commands that wait.
#[derive(Clone, Copy, Debug)]
pub struct AggregateSettings {
    /// The most bytes that cached aggregates may weigh.
    pub cache_bytes_max: u64,
    /// The most commands that wait for one stream.
    pub mailbox_max: usize,
}

/// What a command is run on, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// On whose behalf.
    pub scope: &'a Scope,
    /// The stream.
    pub stream: &'a StreamId,
    /// Whether it is there.
    pub presence: Presence,
}

/// What the caller knows about the stream of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing: its state is loaded, unless it is in memory.
    Unknown,
    /// The command creates it, under an id that somebody chose. It is taken for absent, unless it
    /// is in memory, and nothing is loaded: the append looks, for all such streams of its batch at
    /// once.
    Unexpected,
    /// The caller has just made the id at random: nothing can have it, and nobody looks.
    Impossible,
}

/// What the decider sees: a state, and the version that it stands at; 0 is "there is no such
/// stream".
pub struct Seen<'a, A> {
    /// The aggregate.
    pub state: &'a A,
    /// The stream's version.
    pub version: i64,
    /// The incarnation that wrote the stream's last event; 0 without one.
    pub written_in: i32,
    /// The incarnation in which the state was true.
    pub incarnation: i32,
}

/// What the closure made of a command. Without events it is a no-op or a refusal; it stands only
/// when the version that was seen still holds under the partition's lock.
pub struct Ruling<E, R> {
    /// The events, if any.
    pub events: Vec<E>,
    /// Claims to take.
    pub take: Vec<Claim>,
    /// Claims to give back.
    pub release: Vec<Claim>,
    /// The idempotency key with its answers, when the client sent one.
    pub outcome: Option<KeyedOutcome>,
    /// What the caller wants to know about the ruling that was taken.
    pub answer: R,
}

/// What became of a command.
#[derive(Debug)]
pub enum Executed<R> {
    /// The ruling was taken: its events are durable, or it had none and was true under the lock.
    Taken {
        /// The ruling's answer.
        answer: R,
        /// The stream's version.
        version: i64,
        /// What a read must have passed to show what was decided.
        token: ConsistencyToken,
    },
    /// The idempotency key was answered before.
    Duplicate(StoredOutcome),
    /// The idempotency key was used for another request.
    KeyReused,
    /// Another owner holds the claim.
    ClaimTaken {
        /// What is claimed.
        kind: &'static str,
    },
    /// The stream that it creates is there.
    IdTaken,
}

/// Why a command came to no end.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// Too many commands wait for the stream; nothing was done.
    #[error(transparent)]
    MailboxFull(#[from] MailboxFull),
    /// The state could not be loaded; nothing was done.
    #[error("the aggregate could not be loaded")]
    Load(#[from] ReadError),
    /// A stored event cannot be read; nothing was done.
    #[error("a stored event of the aggregate cannot be read")]
    Decode(#[from] DecodeError),
    /// An event cannot be written; nothing was done.
    #[error("an event cannot be written")]
    Encode(#[from] serde_json::Error),
    /// Other processes were faster each time; nothing was done.
    #[error("the stream moved on each of {} attempts", DECIDE_AGAIN_MAX + 1)]
    Contended,
    /// The append gave no verdict.
    #[error("the append gave no verdict")]
    Append(#[source] AppendError),
}
