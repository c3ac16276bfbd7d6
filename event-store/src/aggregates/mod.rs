//! The decide loop: load an aggregate, let a pure closure decide, append, and decide again when
//! another process was faster.
//!
//! Commands on one stream of this process queue behind each other **before** deciding, so a
//! conflict always means another process. Recently used aggregates stay in memory, bounded by
//! weight; they are only ever brought forward by events that were read or whose commit is known.
//! What is cached may be stale: nothing here relies on it, because every entry carries the version
//! that its decider saw, refusals and no-ops too.

mod cache;
mod mailbox;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use cqrs_es::Aggregate;
use events::{
    ConsistencyToken, DecodeError, Metadata, NewEvent, Partition, RecordedEvent, Scope, StreamId,
};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;
use uuid::Uuid;

use self::cache::{Cache, Cached};
pub use self::mailbox::MailboxFull;
use self::mailbox::Mailboxes;
use crate::append::{Appender, Heads};
use crate::entry::{
    AppendError, Claim, Condition, Entry, KeyedOutcome, ReadMark, StoredOutcome, Verdict, Write,
};
use crate::store::{EventStore, ReadError};

/// How often a command is decided anew, after the first time, when its stream has moved or the
/// store has forked.
pub const DECIDE_AGAIN_MAX: u32 = 5;

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
    /// The caller has just made the stream's id at random: nothing can have it, so nothing is
    /// loaded.
    pub fresh: bool,
}

/// What the decider sees: a state, and the version that it stands at; 0 is "there is no such
/// stream".
pub struct Seen<'a, A> {
    /// The aggregate.
    pub state: &'a A,
    /// The stream's version.
    pub version: i64,
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

/// The aggregates of one type: deciding, with their cache and their mailboxes. A clone is cheap and
/// shares both.
pub struct Aggregates<A: Aggregate> {
    inner: Arc<Inner<A>>,
}

impl<A: Aggregate> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<A: Aggregate> {
    store: EventStore,
    appender: Appender,
    heads: watch::Receiver<Heads>,
    codec: Codec<A::Event>,
    cache: Cache<A>,
    mailboxes: Mailboxes,
}

impl<A: Aggregate + Clone + 'static> Aggregates<A> {
    /// Nothing is cached yet.
    #[must_use]
    pub fn new(
        store: EventStore,
        appender: Appender,
        codec: Codec<A::Event>,
        settings: AggregateSettings,
    ) -> Self {
        let inner = Inner {
            store,
            heads: appender.heads_changed(),
            appender,
            codec,
            cache: Cache::new(settings.cache_bytes_max),
            mailboxes: Mailboxes::new(settings.mailbox_max),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Runs a command on one stream to its end. `decide` is called again, with a newer state and
    /// clock, as often as the stream turns out to have moved. Dropping the future while it runs may
    /// leave the command undone or done; whoever needs the end runs it in a task that nothing
    /// cancels.
    ///
    /// # Errors
    /// [`ExecuteError`]; nothing was done unless it says [`AppendError::OutcomeUnknown`].
    pub async fn execute<R>(
        &self,
        target: Target<'_>,
        metadata: &Metadata,
        mut decide: impl FnMut(Seen<'_, A>, DateTime<Utc>) -> Ruling<A::Event, R>,
    ) -> Result<Executed<R>, ExecuteError> {
        let Target { scope, stream, .. } = target;
        let _turn = self.inner.mailboxes.enter(stream).await?;
        let mut seen = self.inner.state_of(target).await?;
        for _ in 0..=DECIDE_AGAIN_MAX {
            let now = Utc::now().trunc_subsecs(6);
            let ruling = decide(
                Seen {
                    state: &seen.aggregate,
                    version: seen.version,
                },
                now,
            );
            let entry = self.inner.entry(target, metadata, &seen, &ruling)?;
            seen = match self.inner.appender.append(entry).await {
                Ok(verdict) => match self.inner.settle(stream, &seen, ruling, verdict) {
                    Some(executed) => return Ok(executed),
                    None => self.inner.refresh(scope, stream, &seen).await?,
                },
                Err(AppendError::OtherIncarnation) => {
                    self.inner.cache.clear();
                    self.inner.load(scope, stream).await?
                }
                Err(error) => {
                    self.inner.cache.forget(stream);
                    return Err(ExecuteError::Append(error));
                }
            };
        }
        Err(ExecuteError::Contended)
    }

    /// How many aggregates are cached, about.
    #[must_use]
    pub fn cached(&self) -> u64 {
        self.inner.cache.len()
    }
}

impl<A: Aggregate + Clone + 'static> Inner<A> {
    async fn state_of(&self, target: Target<'_>) -> Result<Arc<Cached<A>>, ExecuteError> {
        if target.fresh
            && let Some(mark) = self.known_mark(target.stream)
        {
            let (aggregate, version) = (A::default(), 0);
            return Ok(Arc::new(Cached {
                aggregate,
                version,
                mark,
            }));
        }
        match self.cache.get(target.stream) {
            Some(cached) => Ok(cached),
            None => self.load(target.scope, target.stream).await,
        }
    }

    /// The head of the stream's partition as a lane of this process saw it last, if one has.
    fn known_mark(&self, stream: &StreamId) -> Option<ReadMark> {
        let heads = self.heads.borrow();
        let head = heads
            .positions
            .get(self.partition(stream).index())
            .copied()?;
        let seen = heads.incarnation > 0 && head >= 0;
        seen.then_some(ReadMark {
            incarnation: heads.incarnation,
            head,
        })
    }

    async fn load(&self, scope: &Scope, stream: &StreamId) -> Result<Arc<Cached<A>>, ExecuteError> {
        let nothing = ReadMark {
            incarnation: 0,
            head: 0,
        };
        let absent = Cached {
            aggregate: A::default(),
            version: 0,
            mark: nothing,
        };
        self.refresh(scope, stream, &absent).await
    }

    /// Reads what the stream has after `known`.
    async fn refresh(
        &self,
        scope: &Scope,
        stream: &StreamId,
        known: &Cached<A>,
    ) -> Result<Arc<Cached<A>>, ExecuteError> {
        let loaded = self.store.load(scope, stream, known.version).await?;
        if known.version > 0 && loaded.mark.incarnation != known.mark.incarnation {
            // What is known may have been lost with the store's tail.
            self.cache.clear();
            return Box::pin(self.load(scope, stream)).await;
        }
        let mut next = Cached {
            mark: loaded.mark,
            ..known.clone()
        };
        for event in &loaded.events {
            next.aggregate.apply(self.decode(event)?);
            next.version = event.sequence;
        }
        Ok(self.cache.put(stream, next))
    }

    fn decode(&self, event: &RecordedEvent) -> Result<A::Event, DecodeError> {
        (self.codec.decode)(&event.event_type, event.event_version, event.payload.get())
    }

    fn entry<R>(
        &self,
        target: Target<'_>,
        metadata: &Metadata,
        seen: &Cached<A>,
        ruling: &Ruling<A::Event, R>,
    ) -> Result<Entry, ExecuteError> {
        let Target { scope, stream, .. } = target;
        let events = self.encode(&ruling.events, metadata)?;
        let (conditions, writes) = if events.is_empty() {
            (
                vec![Condition {
                    stream: stream.clone(),
                    version: seen.version,
                }],
                vec![],
            )
        } else {
            (
                vec![],
                vec![Write {
                    stream: stream.clone(),
                    expected: seen.version,
                    events,
                }],
            )
        };
        Ok(Entry {
            scope: scope.clone(),
            partition: self.partition(stream),
            mark: seen.mark,
            conditions,
            writes,
            take: ruling.take.clone(),
            release: ruling.release.clone(),
            outcome: ruling.outcome.clone(),
        })
    }

    fn encode(
        &self,
        events: &[A::Event],
        metadata: &Metadata,
    ) -> serde_json::Result<Vec<NewEvent>> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        let metadata = to_raw_value(metadata)?;
        let encode = |event| {
            let EncodedEvent {
                event_type,
                event_version,
                payload,
            } = (self.codec.encode)(event)?;
            let (event_id, metadata) = (Uuid::now_v7(), metadata.clone());
            Ok(NewEvent {
                event_id,
                event_type,
                event_version,
                payload,
                metadata,
            })
        };
        events.iter().map(encode).collect()
    }

    fn partition(&self, stream: &StreamId) -> Partition {
        stream.partition(self.store.partitions())
    }

    /// The end of a command: the cache takes its events over, now that their commit is known. None
    /// when the stream has moved and the command must be decided again.
    fn settle<R>(
        &self,
        stream: &StreamId,
        seen: &Cached<A>,
        ruling: Ruling<A::Event, R>,
        verdict: Verdict,
    ) -> Option<Executed<R>> {
        let Ruling { events, answer, .. } = ruling;
        Some(match verdict {
            Verdict::Conflict { .. } => return None,
            Verdict::Appended {
                incarnation,
                address,
                version,
            } => {
                let mark = ReadMark {
                    incarnation,
                    head: address.position,
                };
                let mut next = Cached {
                    version,
                    mark,
                    ..seen.clone()
                };
                events
                    .into_iter()
                    .for_each(|event| next.aggregate.apply(event));
                self.cache.put(stream, next);
                let token = ConsistencyToken::of(incarnation, address);
                Executed::Taken {
                    answer,
                    version,
                    token,
                }
            }
            Verdict::Unchanged {
                incarnation,
                address,
                version,
            } => {
                let token = ConsistencyToken::of(incarnation, address);
                Executed::Taken {
                    answer,
                    version,
                    token,
                }
            }
            Verdict::Duplicate(outcome) => Executed::Duplicate(outcome),
            Verdict::KeyReused => Executed::KeyReused,
            Verdict::ClaimTaken { kind } => Executed::ClaimTaken { kind },
            Verdict::IdTaken => {
                self.cache.forget(stream);
                Executed::IdTaken
            }
        })
    }
}
