//! The judge: what becomes of each entry, in arrival order, over an overlay of what is true under
//! the lock.
//!
//! No I/O, no clock. Each entry is taken wholly or leaves the overlay as it was, and sees what
//! earlier entries left; so a batch judged together means the same as its entries one by one.

use events::{Address, Partition};

use super::candidate::{Candidate, Homed, KeyMap};
use crate::digest::Digest;
use crate::entry::{Claim, StoredOutcome, Verdict};
use crate::key_hash::{LockKey, StreamKey};

/// A stream as it stands; the number is 0 and the version is 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamState {
    pub(super) number: i64,
    pub(super) version: i64,
    /// Of its last event; 0 when nobody asked for it.
    pub(super) position: i64,
}

/// A locked head: where the next event goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadState {
    pub(super) partition: Partition,
    pub(super) position: i64,
    pub(super) digest: Digest,
    /// Microseconds since 1970; never less than the partition's last event has.
    pub(super) recorded_at: i64,
}

/// What an idempotency key remembers.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) fingerprint: [u8; 32],
    pub(super) outcome: StoredOutcome,
}

/// Everything that the batch's verdicts depend on; holds every stream, claim and key that its
/// entries mention.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    pub(super) incarnation: i32,
    /// Ascending by partition.
    pub(super) heads: Vec<HeadState>,
    pub(super) streams: KeyMap<StreamKey, StreamState>,
    /// The owner of each claim that the batch takes or releases.
    pub(super) claims: KeyMap<LockKey, Option<String>>,
    pub(super) outcomes: KeyMap<LockKey, Option<Remembered>>,
    /// Of each stream that would need one.
    pub(super) homes: KeyMap<LockKey, Home>,
}

/// The home of a stream whose id does not contain its routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// Nobody has made it.
    Free,
    /// It was there before the batch.
    Taken,
    /// An entry of the batch makes it.
    Made {
        partition: Partition,
        routing_key: String,
    },
}

/// An event with its place: event `event` of write `write` of candidate `candidate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) candidate: usize,
    pub(super) write: usize,
    pub(super) event: usize,
    /// Index into the overlay's heads.
    pub(super) head: usize,
    pub(super) partition: Partition,
    pub(super) position: i64,
    pub(super) number: i64,
    pub(super) sequence: i64,
}

impl Placed {
    /// Whether it is the first event of its stream.
    pub(super) fn creates(&self) -> bool {
        self.sequence == 1
    }
}

impl Overlay {
    /// The verdict on one entry; what it writes is added to `placed`.
    pub(super) fn judge(
        &mut self,
        index: usize,
        candidate: &Candidate,
        placed: &mut Vec<Placed>,
    ) -> Verdict {
        if let Some(verdict) = self.remembered(candidate) {
            return verdict;
        }
        let verdict = match self.refusal(candidate) {
            Some(refusal) => refusal,
            None => self.take(index, candidate, placed),
        };
        self.remember(candidate, &verdict);
        verdict
    }

    fn remembered(&self, candidate: &Candidate) -> Option<Verdict> {
        let keyed = candidate.entry.outcome.as_ref()?;
        let Homed { key, .. } = candidate.outcome?;
        let remembered = self.outcomes.get(&key)?.as_ref()?;
        Some(if remembered.fingerprint == keyed.fingerprint {
            Verdict::Duplicate(remembered.outcome.clone())
        } else {
            Verdict::KeyReused
        })
    }

    /// A conflict goes before every refusal: a refusal is final, so its premises must hold.
    fn refusal(&self, candidate: &Candidate) -> Option<Verdict> {
        self.conflict(candidate)
            .or_else(|| self.id_taken(candidate))
            .or_else(|| self.claim_taken(candidate))
    }

    fn conflict(&self, candidate: &Candidate) -> Option<Verdict> {
        let entry = &candidate.entry;
        let conditions = entry.conditions.iter().zip(candidate.condition_keys());
        let conditions =
            conditions.map(|(condition, key)| (&condition.stream, condition.version, key));
        let changed = entry.writes.iter().zip(candidate.write_keys());
        let changed = changed.map(|(write, key)| (&write.stream, write.expected, key));
        let changed = changed.filter(|(_, expected, _)| *expected > 0);
        for (stream, expected, key) in conditions.chain(changed) {
            let actual = self.stream(*key).version;
            if actual != expected {
                return Some(Verdict::Conflict {
                    stream: stream.clone(),
                    actual,
                });
            }
        }
        None
    }

    fn id_taken(&self, candidate: &Candidate) -> Option<Verdict> {
        let mut writes = candidate.entry.writes.iter().zip(candidate.write_keys());
        let there = writes.any(|(write, key)| write.expected == 0 && self.stream(*key).version > 0);
        let mut homes = candidate.homes.iter().flatten();
        let homed = homes.any(|home| self.homes.get(&home.key) != Some(&Home::Free));
        (there || homed).then_some(Verdict::IdTaken)
    }

    fn claim_taken(&self, candidate: &Candidate) -> Option<Verdict> {
        let mut takes = candidate.entry.take.iter().zip(&candidate.take);
        let (claim, _) = takes.find(|(claim, homed)| match self.owner(homed.key) {
            Some(owner) => *owner != claim.owner && !releases(candidate, homed.key, owner),
            None => false,
        })?;
        Some(Verdict::ClaimTaken { kind: claim.kind })
    }

    /// Takes the entry: nothing refuses it any more.
    fn take(&mut self, index: usize, candidate: &Candidate, placed: &mut Vec<Placed>) -> Verdict {
        self.move_claims(candidate);
        self.make_homes(candidate);
        let (entry, incarnation) = (&candidate.entry, self.incarnation);
        let head = self.head_of(entry.partition);
        if entry.writes.is_empty() {
            let state = self.stream(candidate.streams[0]);
            let position = match state.version {
                0 => self.heads[head].position,
                _ => state.position,
            };
            let address = Address {
                partition: entry.partition,
                position,
            };
            return Verdict::Unchanged {
                incarnation,
                address,
                version: state.version,
            };
        }
        for (write, key) in candidate.write_keys().iter().enumerate() {
            let first = Placed {
                candidate: index,
                write,
                event: 0,
                head,
                partition: entry.partition,
                position: 0,
                number: 0,
                sequence: 0,
            };
            self.place(first, *key, candidate, placed);
        }
        let version = self.stream(candidate.write_keys()[0]).version;
        let address = Address {
            partition: entry.partition,
            position: self.heads[head].position,
        };
        Verdict::Appended {
            incarnation,
            address,
            version,
        }
    }

    /// Gives every event of one write its place; `first` says which write.
    fn place(
        &mut self,
        first: Placed,
        key: StreamKey,
        candidate: &Candidate,
        placed: &mut Vec<Placed>,
    ) {
        let head = &mut self.heads[first.head];
        let state = self
            .streams
            .get_mut(&key)
            .expect("the overlay holds every stream of its batch");
        for (event, new) in candidate.entry.writes[first.write]
            .events
            .iter()
            .enumerate()
        {
            head.position += 1;
            if state.version == 0 {
                state.number = head.position;
            }
            state.version += 1;
            state.position = head.position;
            let address = Address {
                partition: head.partition,
                position: head.position,
            };
            head.digest.add(
                address,
                new.event_id,
                new.event_type,
                new.event_version,
                new.payload.get(),
            );
            placed.push(Placed {
                event,
                position: head.position,
                number: state.number,
                sequence: state.version,
                ..first
            });
        }
    }

    fn make_homes(&mut self, candidate: &Candidate) {
        for (write, home) in candidate.entry.writes.iter().zip(&candidate.homes) {
            if let Some(home) = home {
                let partition = candidate.entry.partition;
                let routing_key = write.stream.routing_key.clone();
                self.homes.insert(
                    home.key,
                    Home::Made {
                        partition,
                        routing_key,
                    },
                );
            }
        }
    }

    /// Gives back first, then takes: so an entry may move a claim.
    fn move_claims(&mut self, candidate: &Candidate) {
        for (claim, homed) in candidate.entry.release.iter().zip(&candidate.release) {
            if self.owner(homed.key) == Some(&claim.owner) {
                self.claims.insert(homed.key, None);
            }
        }
        for (claim, homed) in candidate.entry.take.iter().zip(&candidate.take) {
            self.claims.insert(homed.key, Some(claim.owner.clone()));
        }
    }

    /// Completes the answer that the entry's idempotency key will give again; a conflict is no
    /// answer.
    fn remember(&mut self, candidate: &Candidate, verdict: &Verdict) {
        let Some((keyed, homed)) = candidate.entry.outcome.as_ref().zip(candidate.outcome) else {
            return;
        };
        let outcome = match verdict {
            Verdict::Appended {
                incarnation,
                address,
                version,
            }
            | Verdict::Unchanged {
                incarnation,
                address,
                version,
            } => StoredOutcome::of(&keyed.decided, Some((*incarnation, *address, *version))),
            Verdict::ClaimTaken { .. } => StoredOutcome::of(&keyed.claim_taken, None),
            Verdict::IdTaken => StoredOutcome::of(&keyed.id_taken, None),
            Verdict::Conflict { .. } | Verdict::Duplicate(_) | Verdict::KeyReused => return,
        };
        let fingerprint = keyed.fingerprint;
        self.outcomes.insert(
            homed.key,
            Some(Remembered {
                fingerprint,
                outcome,
            }),
        );
    }

    fn stream(&self, key: StreamKey) -> StreamState {
        *self
            .streams
            .get(&key)
            .expect("the overlay holds every stream of its batch")
    }

    fn owner(&self, key: LockKey) -> Option<&String> {
        self.claims
            .get(&key)
            .expect("the overlay holds every claim of its batch")
            .as_ref()
    }

    fn head_of(&self, partition: Partition) -> usize {
        let found = self
            .heads
            .binary_search_by_key(&partition, |head| head.partition);
        found.expect("the batch locked the heads of all its partitions")
    }
}

/// Whether the entry itself gives back what `owner` holds.
fn releases(candidate: &Candidate, key: LockKey, owner: &str) -> bool {
    let mut pairs = candidate.entry.release.iter().zip(&candidate.release);
    pairs.any(|(claim, homed): (&Claim, &Homed)| homed.key == key && claim.owner == owner)
}

#[cfg(test)]
mod tests;
