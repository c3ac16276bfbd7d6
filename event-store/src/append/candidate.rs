//! An entry on its way, with the hashes of its keys: they are made in the caller's task and not on
//! the lane's thread.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use chrono::DateTime;
use events::{Address, Partition, PartitionCount, RecordedEvent, StreamId};

use super::judge::Placed;
use crate::entry::{Entry, Write};
use crate::key_hash::{LockKey, StreamKey, claim_partition, home_partition, outcome_partition};

/// A map by a key that is a hash already.
pub(super) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// Takes the low half of a 128-bit hash as it is.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        let [low, ..] = split(hash);
        self.0 = low;
    }
}

fn split(hash: u128) -> [u64; 2] {
    let bytes = hash.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("half of 16 bytes"));
    [word(low), word(high)]
}

/// A key that a batch locks: its hash, and the partition that its row is homed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Homed {
    pub(super) key: LockKey,
    pub(super) partition: Partition,
}

/// An entry with the hashes of its keys.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) entry: Entry,
    /// Of the conditions, then of the writes.
    pub(super) streams: Vec<StreamKey>,
    pub(super) take: Vec<Homed>,
    pub(super) release: Vec<Homed>,
    pub(super) outcome: Option<Homed>,
    /// Of each write that creates a stream of a homed type; empty when no write does.
    pub(super) homes: Vec<Option<Homed>>,
}

impl Candidate {
    pub(super) fn new(entry: Entry, count: PartitionCount, homed_types: &[&str]) -> Self {
        let tenant = entry.scope.tenant.as_str();
        let claim = |claim| Homed {
            key: LockKey::of_claim(tenant, claim),
            partition: claim_partition(claim, count),
        };
        let conditions = entry.conditions.iter().map(|condition| &condition.stream);
        let writes = entry.writes.iter().map(|write| &write.stream);
        let outcome = entry.outcome.as_ref().map(|keyed| Homed {
            key: LockKey::of_outcome(tenant, &keyed.key),
            partition: outcome_partition(tenant, &keyed.key, count),
        });
        let partition = entry.partition;
        let stream = |stream| StreamKey::of(partition, stream);
        Self {
            streams: conditions.chain(writes).map(stream).collect(),
            homes: homes(&entry, count, homed_types),
            take: entry.take.iter().map(claim).collect(),
            release: entry.release.iter().map(claim).collect(),
            outcome,
            entry,
        }
    }

    /// The keys of the streams that it only reads.
    pub(super) fn condition_keys(&self) -> &[StreamKey] {
        &self.streams[..self.entry.conditions.len()]
    }

    /// The keys of the streams that it writes.
    pub(super) fn write_keys(&self) -> &[StreamKey] {
        &self.streams[self.entry.conditions.len()..]
    }

    /// The event that it placed, as the store holds it from its commit on.
    pub(super) fn recorded(&self, placed: &Placed, recorded_at: i64) -> RecordedEvent {
        let Write { stream, events, .. } = &self.entry.writes[placed.write];
        let event = &events[placed.event];
        RecordedEvent {
            address: Address {
                partition: placed.partition,
                position: placed.position,
            },
            stream_no: placed.number,
            sequence: placed.sequence,
            event_id: event.event_id,
            tenant: stream.tenant.clone(),
            aggregate_type: stream.aggregate_type.to_owned(),
            aggregate_id: stream.id.clone(),
            routing_key: stream.routing_key.clone(),
            event_type: event.event_type.to_owned(),
            event_version: event.event_version,
            payload: event.payload.clone(),
            metadata: event.metadata.clone(),
            recorded_at: DateTime::from_timestamp_micros(recorded_at).unwrap_or_default(),
        }
    }

    /// How much it adds to the statement that writes it.
    pub(super) fn bytes(&self) -> usize {
        let events = self.entry.writes.iter().flat_map(|write| &write.events);
        events
            .map(|event| event.payload.get().len() + event.metadata.get().len())
            .sum()
    }
}

fn homes(entry: &Entry, count: PartitionCount, homed_types: &[&str]) -> Vec<Option<Homed>> {
    if homed_types.is_empty() {
        return Vec::new();
    }
    let home = |write: &Write| {
        let StreamId { aggregate_type, .. } = &write.stream;
        let makes_one = write.expected == 0 && homed_types.contains(aggregate_type);
        makes_one.then(|| {
            let name = write.stream.name();
            Homed {
                key: LockKey::of_home(aggregate_type, &name),
                partition: home_partition(aggregate_type, &name, count),
            }
        })
    };
    entry.writes.iter().map(home).collect()
}
