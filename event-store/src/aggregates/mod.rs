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
mod ruling;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use cqrs_es::Aggregate;
use events::{
    ConsistencyToken, DecodeError, Metadata, NewEvent, Partition, RecordedEvent, Scope, StreamId,
};
use serde_json::value::to_raw_value;
use tokio::sync::watch;
use uuid::Uuid;

use self::cache::{Cache, Cached};
pub use self::mailbox::MailboxFull;
use self::mailbox::Mailboxes;
pub use self::ruling::{
    AggregateSettings, Codec, EncodedEvent, ExecuteError, Executed, Presence, Ruling, Seen, Target,
};
use crate::append::{Appender, Heads};
use crate::entry::{AppendError, Condition, Entry, ReadMark, Verdict, Write};
use crate::store::EventStore;

/// How often a command is decided anew, after the first time, when its stream has moved or the
/// store has forked.
pub const DECIDE_AGAIN_MAX: u32 = 5;

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
                    written_in: seen.written_in,
                    incarnation: seen.mark.incarnation,
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
        let Target { stream, .. } = target;
        let cached = match target.presence {
            Presence::Impossible => None,
            Presence::Unexpected | Presence::Unknown => self.cache.get(stream),
        };
        let mark = match (target.presence, cached) {
            (_, Some(cached)) => return Ok(cached),
            (Presence::Unknown, None) => None,
            // Before the first event nothing was there. A lane that began later has to look.
            (Presence::Unexpected, None) => {
                let incarnation = self.heads.borrow().incarnation;
                (incarnation > 0).then_some(ReadMark {
                    incarnation,
                    head: 0,
                })
            }
            (Presence::Impossible, None) => self.known_mark(stream),
        };
        match mark {
            Some(mark) => Ok(Arc::new(absent(mark))),
            None => self.load(target.scope, stream).await,
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
        self.refresh(scope, stream, &absent(nothing)).await
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
        if let Some(last) = loaded.events.last() {
            next.written_in = self.written_in(loaded.mark.incarnation, last).await?;
        }
        Ok(self.cache.put(stream, next))
    }

    /// Which incarnation wrote an event. Only a store that forked has to look.
    async fn written_in(&self, now: i32, event: &RecordedEvent) -> Result<i32, ExecuteError> {
        if now == 1 {
            return Ok(now);
        }
        Ok(self.store.incarnations().await?.of(event.address))
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
                    written_in: incarnation,
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

/// A stream without events.
fn absent<A: Default>(mark: ReadMark) -> Cached<A> {
    Cached {
        aggregate: A::default(),
        version: 0,
        written_in: 0,
        mark,
    }
}
