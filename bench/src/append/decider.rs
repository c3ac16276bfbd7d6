//! A writer of ours that goes the whole way of command-api, from the decoded command to its answer:
//! the stream's turn, the aggregate cache, the decision, the codec, the append.

use std::time::Instant;

use anyhow::bail;
use chrono::{DateTime, Utc};
use domain::{Refusal, User, UserCommand};
use event_store::aggregates::{
    AggregateSettings, Aggregates, Codec, EncodedEvent, Executed, Presence, Ruling, Seen, Target,
};
use event_store::{Appender, EventStore};
use events::{Metadata, Scope, StreamId, UserEvent};

use super::ours::{self, Extras};
use crate::gauge::Gauge;
use crate::people::{Next, People};

/// What command-api has on a machine of 4 GiB, and its mailboxes.
const SETTINGS: AggregateSettings = AggregateSettings {
    cache_bytes_max: 400 << 20,
    mailbox_max: 64,
};

/// The decide loop that all writers share, as command-api makes it.
pub(super) fn aggregates(store: EventStore, appender: Appender) -> Aggregates<User> {
    let encode = |event: &UserEvent| {
        let (event_type, event_version) = (event.type_name(), event.version());
        Ok(EncodedEvent {
            event_type,
            event_version,
            payload: event.payload()?,
        })
    };
    Aggregates::new(
        store,
        appender,
        Codec {
            decode: events::decode,
            encode,
        },
        SETTINGS,
    )
}

/// A writer and the users that it registered.
pub(super) struct Decider {
    aggregates: Aggregates<User>,
    scope: Scope,
    metadata: Metadata,
    extras: Extras,
    people: People,
    users: Vec<StreamId>,
}

impl Decider {
    /// A writer without users; its number is its seed.
    pub(super) fn new(number: u16, aggregates: Aggregates<User>, extras: Extras) -> Self {
        Self {
            aggregates,
            scope: ours::scope(),
            metadata: ours::metadata(),
            extras,
            people: People::new(u64::from(number)),
            users: Vec::new(),
        }
    }

    /// Writes until the gauge stops it.
    pub(super) async fn run(mut self, number: usize, gauge: Gauge) -> anyhow::Result<()> {
        while gauge.runs() {
            let next = self.people.next();
            let begun = Instant::now();
            let (user, fresh, command) = match next {
                Next::Update(user, command) => (user, false, UserCommand::from(command)),
                Next::Register(command) => {
                    self.users
                        .push(StreamId::user(&self.scope.tenant, command.user_id));
                    (self.users.len() - 1, true, command.into())
                }
            };
            self.execute(user, fresh, &command).await?;
            gauge.note(number, begun, 1);
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        user: usize,
        fresh: bool,
        command: &UserCommand,
    ) -> anyhow::Result<()> {
        let keyed = self.extras.is_keyed(&mut self.people);
        let (scope, stream, claims) = (&self.scope, &self.users[user], self.extras.claims);
        let rule = |seen: Seen<'_, User>, now: DateTime<Utc>| {
            let (events, take, answer) = match command.decide(seen.state, now) {
                Ok(decision) => (decision.events, decision.take, Ok(())),
                Err(refusal) => (vec![], vec![], Err(refusal)),
            };
            let take = if claims {
                ours::claims(&take, &stream.id)
            } else {
                vec![]
            };
            let outcome = keyed.then(|| ours::keyed_outcome(scope, &stream.id));
            Ruling::<UserEvent, Result<(), Refusal>> {
                events,
                take,
                release: vec![],
                outcome,
                answer,
            }
        };
        // Under an id that the client chose, as loads over HTTP register.
        let presence = if fresh {
            Presence::Unexpected
        } else {
            Presence::Unknown
        };
        let target = Target {
            scope,
            stream,
            presence,
        };
        match self
            .aggregates
            .execute(target, &self.metadata, rule)
            .await?
        {
            Executed::Taken { answer: Ok(()), .. } => Ok(()),
            other => bail!("nobody else writes here, and yet: {other:?}"),
        }
    }
}
