//! One writer of ours. It decides on the state that its last command left, as the aggregate cache
//! does, writes the payload, makes the entry as command-api makes it and waits for the verdict.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use chrono::{SubsecRound as _, Utc};
use cqrs_es::Aggregate as _;
use domain::{Decision, User, UserCommand};
use event_store::entry::{ReadMark, Write};
use event_store::{Appender, Entry, Heads, Verdict};
use events::{NewEvent, PartitionCount, Scope, StreamId, UserEvent};
use serde_json::value::to_raw_value;
use tokio::sync::watch;
use uuid::Uuid;

use super::ours::{self, Extras};
use crate::gauge::Gauge;
use crate::people::{Next, People};

/// What the aggregate cache holds of a user.
struct Known {
    stream: StreamId,
    state: User,
    version: i64,
    mark: ReadMark,
}

/// A writer and the users that it registered.
pub(super) struct Writer {
    appender: Appender,
    heads: watch::Receiver<Heads>,
    partitions: PartitionCount,
    scope: Scope,
    extras: Extras,
    people: People,
    users: Vec<Arc<Known>>,
}

impl Writer {
    /// A writer without users; its number is its seed.
    pub(super) fn new(
        number: u16,
        appender: Appender,
        partitions: PartitionCount,
        extras: Extras,
    ) -> Self {
        Self {
            heads: appender.heads_changed(),
            appender,
            partitions,
            scope: ours::scope(),
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
            let (user, command) = self.known(next);
            self.execute(user, command).await?;
            gauge.note(number, begun, 1);
        }
        Ok(())
    }

    /// The user's number and the command; a new user gets its place.
    fn known(&mut self, next: Next) -> (usize, UserCommand) {
        match next {
            Next::Update(user, command) => (user, command.into()),
            Next::Register(command) => {
                let stream = StreamId::user(&self.scope.tenant, command.user_id);
                let state = User::default();
                let mark = self.newest(&stream);
                let known = Known {
                    stream,
                    state,
                    version: 0,
                    mark,
                };
                self.users.push(Arc::new(known));
                (self.users.len() - 1, command.into())
            }
        }
    }

    /// The id was made just now, so that there is no such stream is true as of any head.
    fn newest(&self, stream: &StreamId) -> ReadMark {
        let heads = self.heads.borrow();
        let head = heads.positions[stream.partition(self.partitions).index()].max(0);
        ReadMark {
            incarnation: heads.incarnation.max(1),
            head,
        }
    }

    async fn execute(&mut self, user: usize, command: UserCommand) -> anyhow::Result<()> {
        let known = Arc::clone(&self.users[user]);
        let now = Utc::now().trunc_subsecs(6);
        let decision = command.decide(&known.state, now)?;
        let entry = self.entry(&known, &decision)?;
        let verdict = self.appender.append(entry).await?;
        let Verdict::Appended {
            incarnation,
            address,
            version,
        } = verdict
        else {
            bail!("nobody else writes here, and yet: {verdict:?}");
        };
        let mut state = known.state.clone();
        decision
            .events
            .into_iter()
            .for_each(|event| state.apply(event));
        let mark = ReadMark {
            incarnation,
            head: address.position,
        };
        let stream = known.stream.clone();
        self.users[user] = Arc::new(Known {
            stream,
            state,
            version,
            mark,
        });
        Ok(())
    }

    fn entry(&mut self, known: &Known, decision: &Decision<UserEvent>) -> anyhow::Result<Entry> {
        let events = decision
            .events
            .iter()
            .map(encode)
            .collect::<anyhow::Result<_>>()?;
        let (stream, expected) = (known.stream.clone(), known.version);
        let owner = &stream.id;
        let take = if self.extras.claims {
            ours::claims(&decision.take, owner)
        } else {
            vec![]
        };
        let keyed = self.extras.is_keyed(&mut self.people);
        let outcome = keyed.then(|| ours::keyed_outcome(&self.scope, owner));
        Ok(Entry {
            scope: self.scope.clone(),
            partition: stream.partition(self.partitions),
            mark: known.mark,
            conditions: vec![],
            writes: vec![Write {
                stream,
                expected,
                events,
            }],
            take,
            release: vec![],
            outcome,
        })
    }
}

fn encode(event: &UserEvent) -> anyhow::Result<NewEvent> {
    Ok(NewEvent {
        event_id: Uuid::now_v7(),
        event_type: event.type_name(),
        event_version: event.version(),
        payload: event.payload().context("writing a payload")?,
        metadata: to_raw_value(&ours::metadata())?,
    })
}
