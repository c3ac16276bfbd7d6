//! The additive digest of a partition's log: the sum, mod 2^128, of a hash of each event with its
//! address. It is kept at append, so a reader that saw every event once computes the same number,
//! in any order and in slices; one that missed an event, or saw one twice, does not.

use events::{Address, EventRef, RecordedEvent};
use uuid::Uuid;

use crate::key_hash::low_128;

/// The digest of a set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Adds one event. The address is (partition, position) without the incarnation, which no event
    /// stores.
    pub fn add(
        &mut self,
        address: Address,
        event_id: Uuid,
        event_type: &str,
        event_version: i32,
        payload: &str,
    ) {
        let mut head = [0_u8; 34];
        head[..2].copy_from_slice(&address.partition.0.to_le_bytes());
        head[2..10].copy_from_slice(&address.position.to_le_bytes());
        head[10..26].copy_from_slice(event_id.as_bytes());
        head[26..30].copy_from_slice(&event_version.to_le_bytes());
        let type_length = u32::try_from(event_type.len()).expect("an event type is a short text");
        head[30..].copy_from_slice(&type_length.to_le_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head);
        hasher.update(event_type.as_bytes());
        hasher.update(payload.as_bytes());
        self.0 = self.0.wrapping_add(low_128(&hasher.finalize()));
    }

    /// Adds one event that was read.
    pub fn add_recorded(&mut self, event: &RecordedEvent) {
        self.add_borrowed(event.borrowed());
    }

    /// Adds one event that was read, and is not owned.
    pub fn add_borrowed(&mut self, event: EventRef<'_>) {
        self.add(
            event.address,
            event.event_id,
            event.event_type,
            event.event_version,
            event.payload,
        );
    }

    /// Adds the digest of other events.
    pub fn merge(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// The 16 bytes that the store keeps.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From the 16 bytes that the store keeps; nothing when there are more or fewer.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u128::from_be_bytes).map(Self)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use events::Partition;

    use super::*;

    fn digest_of(events: &[(i64, &str)]) -> Digest {
        let mut digest = Digest::default();
        for &(position, payload) in events {
            let address = Address {
                partition: Partition(3),
                position,
            };
            digest.add(address, Uuid::nil(), "Happened", 1, payload);
        }
        digest
    }

    #[test]
    fn slices_add_up_in_any_order() {
        let whole = digest_of(&[(1, "{}"), (2, "[]"), (3, "1")]);
        let mut sum = digest_of(&[(3, "1")]);
        sum.merge(digest_of(&[(2, "[]"), (1, "{}")]));
        assert_eq!(sum, whole);
        assert_eq!(Digest::from_bytes(&whole.to_bytes()), Some(whole));
    }

    #[test]
    fn a_missing_repeated_moved_or_changed_event_shows() {
        let whole = digest_of(&[(1, "{}"), (2, "[]")]);
        for other in [
            digest_of(&[(1, "{}")]),
            digest_of(&[(1, "{}"), (2, "[]"), (2, "[]")]),
            digest_of(&[(1, "[]"), (2, "{}")]),
            digest_of(&[(1, "{}"), (2, "[ ]")]),
        ] {
            assert_ne!(other, whole);
        }
    }
}
