//! A history, ready to be asked: events by address, by request and by user, the state of each user
//! after each of its events, and what is void.

use std::collections::BTreeMap;

use events::incarnation::{Incarnation, IncarnationLog};
use events::token::TokenEntry;
use events::{Address, ConsistencyToken, Partition};
use testkit::pipeline::EventLog;
use testkit::pipeline::log::LogEntry;
use testkit::pipeline::view::{self, Key, ViewRow};
use uuid::Uuid;

use super::report::Invariant;
use crate::history::{History, Operation};

/// The only type that a user's first event has.
const FIRST: &str = "UserRegistered";

pub(crate) struct Index<'h> {
    pub(super) history: &'h History,
    pub(super) at: BTreeMap<(i32, i64), &'h LogEntry>,
    pub(super) by_request: BTreeMap<&'h str, Vec<&'h LogEntry>>,
    /// By partition and position.
    pub(super) streams: BTreeMap<Key, Vec<&'h LogEntry>>,
    pub(super) states: BTreeMap<Key, Vec<ViewRow>>,
    incarnations: Option<IncarnationLog>,
}

impl<'h> Index<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let events = &history.events;
        let at = events.iter().map(|e| ((e.partition, e.position), e));
        let mut by_request: BTreeMap<&str, Vec<&LogEntry>> = BTreeMap::new();
        let mut streams: BTreeMap<Key, Vec<&LogEntry>> = BTreeMap::new();
        for event in events {
            let request = event.request_id().unwrap_or_default();
            by_request.entry(request).or_default().push(event);
            let key = (event.tenant.clone(), event.aggregate_id.clone());
            streams.entry(key).or_default().push(event);
        }
        let rows = history.incarnations.iter().map(|row| Incarnation {
            number: row.number,
            heads: row.heads.clone(),
        });
        Self {
            history,
            at: at.collect(),
            by_request,
            states: states(&streams),
            streams,
            incarnations: IncarnationLog::new(rows.collect()),
        }
    }

    pub(super) fn is_void_itself(&self) -> bool {
        self.incarnations.is_none()
    }

    /// Whether the address was lost with the store's tail.
    pub(super) fn is_void(&self, incarnation: i32, partition: i32, position: i64) -> bool {
        let partition = u16::try_from(partition).unwrap_or(u16::MAX);
        let address = Address {
            partition: Partition(partition),
            position,
        };
        let log = self.incarnations.as_ref();
        log.is_some_and(|log| log.is_void(incarnation, address))
    }

    /// The entries of a token that are not void.
    pub(super) fn valid(&self, token: Option<&str>) -> Vec<Entry> {
        let token: Option<ConsistencyToken> = token.and_then(|text| text.parse().ok());
        let entries = token.iter().flat_map(ConsistencyToken::entries).map(entry);
        let is_valid =
            |entry: &Entry| !self.is_void(entry.incarnation, entry.partition, entry.position);
        entries.filter(is_valid).collect()
    }

    /// Whether an entry of the token is void.
    pub(super) fn has_void(&self, token: Option<&str>) -> bool {
        let token: Option<ConsistencyToken> = token.and_then(|text| text.parse().ok());
        let mut entries = token.iter().flat_map(ConsistencyToken::entries).map(entry);
        entries.any(|entry| self.is_void(entry.incarnation, entry.partition, entry.position))
    }

    /// What shows something that the store does not hold: after a fork the lost history is to
    /// blame (I15), otherwise the invariant `otherwise`.
    pub(super) fn phantom(&self, otherwise: Invariant) -> Invariant {
        if self.history.incarnations.len() > 1 {
            Invariant::I15
        } else {
            otherwise
        }
    }

    /// How many events the user had when the partition had come to `position`: the version that
    /// must be shown at least.
    pub(super) fn version_at(&self, key: &Key, partition: i32, position: i64) -> i64 {
        let stream = self.streams.get(key).map(Vec::as_slice).unwrap_or_default();
        let is_in = |e: &&&LogEntry| e.partition == partition && e.position <= position;
        let last = stream.iter().rfind(is_in);
        last.map_or(0, |event| event.sequence)
    }

    /// Where an operation stands.
    pub(super) fn place(operation: &Operation) -> String {
        let Operation {
            session,
            request,
            what,
            begun,
            ..
        } = operation;
        format!("operations, session {session}, request {request} ({what} at {begun} µs)")
    }
}

/// An entry of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) incarnation: i32,
    pub(super) partition: i32,
    pub(super) position: i64,
}

fn entry(entry: &TokenEntry) -> Entry {
    Entry {
        incarnation: entry.incarnation,
        partition: i32::from(entry.address.partition.0),
        position: entry.address.position,
    }
}

/// A stream that does not begin as one has no states; `store` reports it.
fn states(streams: &BTreeMap<Key, Vec<&LogEntry>>) -> BTreeMap<Key, Vec<ViewRow>> {
    let begins = |stream: &&Vec<&LogEntry>| stream[0].event_type == FIRST;
    let entries = streams.values().filter(begins).flatten();
    let log = EventLog {
        entries: entries.map(|entry| (*entry).clone()).collect(),
        heads: BTreeMap::new(),
    };
    view::states(&log)
}

pub(super) fn key(tenant: &str, user: Uuid) -> Key {
    (tenant.to_owned(), user.to_string())
}
