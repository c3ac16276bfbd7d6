//! What a command hands to the append, and the verdict that it gets back.
//!
//! All streams of an entry are in one partition. An entry is taken wholly or leaves nothing; a
//! refused one cannot fail its neighbours in the batch.

use events::{Address, NewEvent, Partition, Scope, StreamId};
use serde::{Deserialize, Serialize};

/// What the decider saw: read **before** the state was loaded, from the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The incarnation of the store.
    pub incarnation: i32,
    /// The head of the entry's partition.
    pub head: i64,
}

/// A stream and the version that the decider saw; 0 is "there is no such stream".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The stream.
    pub stream: StreamId,
    /// The version that it must still have.
    pub version: i64,
}

/// Events for one stream, after the version that the decider saw.
#[derive(Clone, Debug)]
pub struct Write {
    /// The stream.
    pub stream: StreamId,
    /// The version that it must still have; 0 creates it, and finding it there is
    /// [`Verdict::IdTaken`].
    pub expected: i64,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
}

/// A key that at most one owner holds in its tenant, such as an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What is claimed, such as `email`.
    pub kind: &'static str,
    /// The keyed hash of the value.
    pub key_hash: [u8; 32],
    /// Which key made the hash.
    pub key_version: i16,
    /// Who holds it: the aggregate's id.
    pub owner: String,
}

/// Which answer a repeated request gets again: scope (tenant and principal), route and the client's
/// key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutcomeKey {
    /// Who asked.
    pub principal: String,
    /// The route's pattern with its method, such as `POST /v1/users`.
    pub route: &'static str,
    /// The client's `Idempotency-Key`.
    pub key: String,
}

/// The part of an answer that is known before the append; the judge adds version and token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The problem's code when it is a refusal.
    pub code: Option<&'static str>,
    /// The id that the answer names.
    pub id: Option<String>,
}

/// What an idempotency key remembers: enough to answer again, never any text of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// The HTTP status.
    pub status: u16,
    /// The problem's code when it was a refusal.
    pub code: Option<String>,
    /// The id that the answer named.
    pub id: Option<String>,
    /// The stream's version after the command.
    pub version: Option<i64>,
    /// The consistency token of the answer.
    pub token: Option<String>,
}

/// The idempotency key of an entry with the answers that its verdicts would store.
#[derive(Clone, Debug)]
pub struct KeyedOutcome {
    /// The key.
    pub key: OutcomeKey,
    /// An HMAC over the whole request: the same key with another request is [`Verdict::KeyReused`].
    pub fingerprint: [u8; 32],
    /// Stored when the entry is taken, with or without events.
    pub decided: Answer,
    /// Stored when a claim is held by another.
    pub claim_taken: Answer,
    /// Stored when a stream that it creates is there.
    pub id_taken: Answer,
}

/// One decided command.
#[derive(Clone, Debug)]
pub struct Entry {
    /// On whose behalf.
    pub scope: Scope,
    /// The partition of all its streams.
    pub partition: Partition,
    /// What the decider saw.
    pub mark: ReadMark,
    /// Streams that it read and does not write.
    pub conditions: Vec<Condition>,
    /// Streams that it writes; the first one is the answer's. Empty for a no-op or a refusal: then
    /// the first condition's stream is the answer's.
    pub writes: Vec<Write>,
    /// Claims to take.
    pub take: Vec<Claim>,
    /// Claims to give back; one that its owner does not hold is a bug of the caller and changes
    /// nothing.
    pub release: Vec<Claim>,
    /// The idempotency key, when the client sent one.
    pub outcome: Option<KeyedOutcome>,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its events are durable; the address is that of its last event, the version that of its first
    /// stream.
    Appended {
        /// The incarnation that it was written in.
        incarnation: i32,
        /// The address of its last event.
        address: Address,
        /// The version of its first stream after it.
        version: i64,
    },
    /// It had no events and its conditions held under the lock; the address is that of the stream's
    /// last event, or the head under the lock where there is no stream.
    Unchanged {
        /// The incarnation under the lock.
        incarnation: i32,
        /// What a read must have passed to show what the decider saw.
        address: Address,
        /// The version of the answer's stream; 0 where there is none.
        version: i64,
    },
    /// A stream has another version than the decider saw: read its tail and decide again.
    Conflict {
        /// The first stream that did.
        stream: StreamId,
        /// The version that it has.
        actual: i64,
    },
    /// The key was answered before.
    Duplicate(StoredOutcome),
    /// The key was used for another request.
    KeyReused,
    /// Another owner holds the claim.
    ClaimTaken {
        /// What is claimed.
        kind: &'static str,
    },
    /// A stream that it creates is there.
    IdTaken,
}

/// Why an entry got no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The lane's queue is full; nothing was done. Try again after a moment.
    #[error("the append queue is full")]
    QueueFull,
    /// The store is in another incarnation than the decider saw; nothing was done. Load and decide
    /// again.
    #[error("the store began another incarnation; the entry must be decided again")]
    OtherIncarnation,
    /// The store cannot be reached or is too busy; nothing was done.
    #[error("the event store is not available")]
    Unavailable,
    /// The connection was lost in commit and the truth could not be learned in time: 0 or 1 effect,
    /// never 2.
    #[error("whether the append took effect is not known")]
    OutcomeUnknown,
    /// The store refused this entry's data (SQLSTATE 22, 23 or 54); nothing was done. A bug: the
    /// edge should have refused.
    #[error("the event store refused the entry's data (SQLSTATE {sqlstate})")]
    Rejected {
        /// The SQLSTATE.
        sqlstate: String,
    },
    /// The entry breaks what the edge promised; nothing was done. A bug of the caller.
    #[error("the entry is malformed: {0}")]
    Malformed(&'static str),
    /// The appender is shutting down; nothing was done.
    #[error("the appender is shutting down")]
    ShuttingDown,
}
