//! A good small history, built as a system would have made it: clients' operations lead to events,
//! and from the events follow topic, rows, checkpoints, cache and what readers met.

use std::collections::BTreeMap;

use chaos::history::{
    CachedLine, Checkpoint, Head, History, IncarnationLine, KafkaLine, Kind, Operation, Outcome,
    RowLine, Scene, Seen,
};
use chrono::DateTime;
use serde_json::{Value, json};
use testkit::pipeline::EventLog;
use testkit::pipeline::log::LogEntry;
use testkit::pipeline::view::{self, Key};
use uuid::Uuid;

pub(crate) const ACME: &str = "acme";
pub(crate) const ZETA: &str = "zeta";
pub(crate) const ADA: Uuid = Uuid::from_u128(1);
pub(crate) const BOB: Uuid = Uuid::from_u128(2);
pub(crate) const ZOE: Uuid = Uuid::from_u128(3);

pub(crate) struct Story {
    pub(crate) history: History,
    pub(crate) incarnation: i32,
    /// What the relay wrote under earlier incarnations.
    relayed: Vec<KafkaLine>,
    clock: u64,
}

/// Ada and Zoe are in partition 0, Bob in partition 1.
pub(crate) fn partition(user: Uuid) -> i32 {
    i32::from(user == BOB)
}

impl Story {
    /// Three users of two tenants, each known, renamed and read.
    pub(crate) fn told() -> Self {
        let canaries = [(ACME, "acme-canary"), (ZETA, "zeta-canary")];
        let canaries = canaries.map(|(tenant, text)| (tenant.to_owned(), vec![text.to_owned()]));
        let mut story = Self {
            history: History {
                scene: Scene {
                    partitions: 2,
                    canaries: canaries.into(),
                    has_kafka: true,
                    has_redis: true,
                    staleness_us_max: 1_000_000,
                    ..Scene::default()
                },
                incarnations: vec![IncarnationLine {
                    number: 1,
                    heads: vec![0, 0],
                }],
                ..History::default()
            },
            incarnation: 1,
            relayed: vec![],
            clock: 0,
        };
        for (tenant, user) in [(ACME, ADA), (ACME, BOB), (ZETA, ZOE)] {
            let first = story.write(tenant, user, "UserRegistered", "first");
            story.repeat(first);
            story.read(tenant, user, true);
            story.write(tenant, user, "UserProfileUpdated", "second");
            story.read(tenant, user, true);
            story.read(tenant, user, false);
        }
        let refused = story.operation(ACME, ADA, Kind::Change);
        story.history.operations.push(Operation {
            outcome: Outcome::Refused,
            status: Some(409),
            ..refused
        });
        story.write(ACME, ADA, "UserProfileUpdated", "unread");
        story
    }

    /// The history when everything has come to rest.
    pub(crate) fn at_rest(mut self) -> History {
        let users = [(ACME, ADA), (ACME, BOB), (ZETA, ZOE)];
        for (tenant, user) in users {
            self.read(tenant, user, false);
            let read = self.history.operations.last_mut().expect("a read");
            read.is_settled = true;
        }
        derive(&mut self.history, self.incarnation, self.relayed);
        self.history
    }

    /// A command that is done; gives the operation's place.
    pub(crate) fn write(&mut self, tenant: &str, user: Uuid, what: &str, name: &str) -> usize {
        let mut operation = self.operation(tenant, user, Kind::Change);
        let event = self.append(&operation, what, name);
        operation.outcome = Outcome::Ok;
        operation.status = Some(200);
        operation.version = Some(event.sequence);
        operation.token = Some(self.token(&event));
        operation.if_match = Some(event.sequence - 1);
        operation.key = Some(operation.request.clone());
        self.history.operations.push(operation);
        self.history.operations.len() - 1
    }

    /// The same request again, under its key.
    fn repeat(&mut self, of: usize) {
        let first = self.history.operations[of].clone();
        let fresh = self.operation(&first.tenant, ADA, Kind::Change);
        self.history.operations.push(Operation {
            request: fresh.request,
            begun: fresh.begun,
            ended: fresh.ended,
            is_replayed: true,
            ..first
        });
    }

    /// An event of the operation at the end of its partition.
    pub(crate) fn append(&mut self, operation: &Operation, what: &str, name: &str) -> LogEntry {
        let user = operation.user.expect("a command is about a user");
        let (partition, events) = (partition(user), &mut self.history.events);
        let position = events.iter().filter(|e| e.partition == partition).count() + 1;
        let own: Vec<_> = events
            .iter()
            .filter(|e| e.aggregate_id == user.to_string())
            .collect();
        let position = i64::try_from(position).expect("small");
        let canary = &self.history.scene.canaries[&operation.tenant][0];
        let event = LogEntry {
            partition,
            position,
            stream_no: own.first().map_or(position, |first| first.stream_no),
            sequence: i64::try_from(own.len()).expect("small") + 1,
            event_id: Uuid::new_v4(),
            tenant: operation.tenant.clone(),
            aggregate_id: user.to_string(),
            event_type: what.to_owned(),
            payload: json!({
                "name": format!("{name} {canary}"), "region": "eu",
                "registered_at": "2026-01-01T00:00:00Z",
            }),
            metadata: json!({ "request_id": operation.request }),
            recorded_at: DateTime::from_timestamp_micros(position).expect("a time"),
        };
        events.push(event.clone());
        event
    }

    /// A read of the present state, with the token of the present head or without.
    pub(crate) fn read(&mut self, tenant: &str, user: Uuid, with_token: bool) {
        let body = self.state(tenant, user);
        let operation = self.operation(tenant, user, Kind::Read);
        let head = of_partition(&self.history.events, partition(user)).last();
        let token = head.map(|head| self.token(head));
        self.history.operations.push(Operation {
            sent: token.clone().filter(|_| with_token),
            outcome: Outcome::Ok,
            status: Some(200),
            body: body.to_string(),
            token,
            ..operation
        });
    }

    /// The user as a read shows it now.
    pub(crate) fn state(&self, tenant: &str, user: Uuid) -> Value {
        let states = states(&self.history);
        let key = (tenant.to_owned(), user.to_string());
        let state = states[&key].last().expect("a state");
        json!({
            "id": user, "version": state.version, "name": state.name, "region": state.region,
        })
    }

    /// An operation that nothing is known of yet.
    pub(crate) fn operation(&mut self, tenant: &str, user: Uuid, kind: Kind) -> Operation {
        self.clock += 10;
        Operation {
            session: format!("session of {tenant}"),
            request: format!("request {}", self.clock),
            begun: self.clock,
            ended: self.clock + 5,
            kind,
            what: "a request".to_owned(),
            tenant: tenant.to_owned(),
            user: Some(user),
            key: None,
            digest: String::new(),
            if_match: None,
            sent: None,
            outcome: Outcome::Unknown,
            status: None,
            code: None,
            is_replayed: false,
            version: None,
            token: None,
            stale: None,
            body: String::new(),
            is_settled: false,
        }
    }

    /// A failover: the store lost its last event of partition 0, the relay had written it.
    pub(crate) fn fork(&mut self) -> LogEntry {
        self.relayed = topic(&self.history.events, self.incarnation);
        let events = &mut self.history.events;
        let is_first = |event: &LogEntry| event.partition == 0;
        let lost = events.iter().rposition(is_first).expect("an event");
        let lost = events.remove(lost);
        let heads = [0, 1].map(|p| of_partition(events, p).count());
        self.incarnation += 1;
        self.history.incarnations.push(IncarnationLine {
            number: self.incarnation,
            heads: heads.map(|head| i64::try_from(head).expect("small")).into(),
        });
        lost
    }

    fn token(&self, event: &LogEntry) -> String {
        let (partition, position) = (event.partition, event.position);
        format!("{}.{partition}.{position}", self.incarnation)
    }
}

fn of_partition(events: &[LogEntry], partition: i32) -> impl Iterator<Item = &LogEntry> {
    events.iter().filter(move |e| e.partition == partition)
}

fn states(history: &History) -> BTreeMap<Key, Vec<view::ViewRow>> {
    view::states(&EventLog {
        entries: history.events.clone(),
        heads: BTreeMap::new(),
    })
}

fn topic(events: &[LogEntry], incarnation: i32) -> Vec<KafkaLine> {
    let line = |(offset, event): (i64, &LogEntry)| KafkaLine {
        partition: event.partition,
        offset,
        incarnation,
        event: Some(event.clone()),
    };
    (0..).zip(events).map(line).collect()
}

/// What follows from the events.
pub(crate) fn derive(history: &mut History, incarnation: i32, relayed: Vec<KafkaLine>) {
    history.events.sort_by_key(|e| (e.partition, e.position));
    let present = topic(&history.events, incarnation);
    history.kafka = relayed.into_iter().chain(present).collect();
    history.kafka.sort_by_key(|line| line.partition);
    history.seen.clear();
    history.seen.extend(history.events.iter().map(|e| Seen {
        partition: e.partition,
        position: e.position,
        event_id: e.event_id,
    }));
    let head = |partition| of_partition(&history.events, partition).last();
    let heads = [0, 1].map(|partition| Head {
        partition,
        position: head(partition).map_or(0, |event| event.position),
    });
    history.heads = heads.into();
    let checkpoint = |head: &Head| Checkpoint {
        partition: head.partition,
        incarnation,
        position: head.position,
    };
    history.checkpoints = heads.iter().map(checkpoint).collect();
    let states = states(history);
    let row = |((tenant, id), states): (&Key, &Vec<view::ViewRow>)| RowLine {
        tenant: tenant.clone(),
        id: id.clone(),
        row: states.last().expect("a state").clone(),
    };
    history.rows = states.iter().map(row).collect();
    let cached = |row: &RowLine| CachedLine {
        key: format!("{}:{}", row.tenant, row.id),
        tenant: row.tenant.clone(),
        id: row.id.clone(),
        as_of: String::new(),
        is_live: true,
        body: json!(row.row),
    };
    history.cached = history.rows.iter().map(cached).collect();
}
