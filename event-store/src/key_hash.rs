//! Hashes of keys: which stream a name means in memory, and which partition a row is homed in that no stream homes.

use events::{Partition, PartitionCount, StreamId};

use crate::entry::{Claim, OutcomeKey};

/// A stream's type and name as 128 bits of blake3: no allocation, and nobody can make two names meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey(u128);

impl StreamKey {
    pub(crate) fn of(stream: &StreamId) -> Self {
        Self::from_parts(&[
            stream.aggregate_type.as_bytes(),
            b"\0",
            stream.tenant.as_str().as_bytes(),
            b"/",
            stream.id.as_bytes(),
        ])
    }

    /// From the columns of `event_store.stream`; the name is `tenant/id` already.
    pub(crate) fn of_row(aggregate_type: &str, name: &str) -> Self {
        Self::from_parts(&[aggregate_type.as_bytes(), b"\0", name.as_bytes()])
    }

    fn from_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(low_128(&hasher.finalize()))
    }
}

/// The first 16 bytes of a hash as a number.
pub(crate) fn low_128(hash: &blake3::Hash) -> u128 {
    let (head, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a blake3 hash has 32 bytes");
    u128::from_le_bytes(*head)
}

/// The home of a claim: its hash is keyed already, so any of its bits are as good as random.
pub(crate) fn claim_partition(claim: &Claim, count: PartitionCount) -> Partition {
    let (head, _) = claim
        .key_hash
        .split_first_chunk()
        .expect("a claim's hash has 32 bytes");
    partition_of_bits(u64::from_le_bytes(*head), count)
}

/// The home of a stored answer.
pub(crate) fn outcome_partition(
    tenant: &str,
    key: &OutcomeKey,
    count: PartitionCount,
) -> Partition {
    hashed_partition(&[tenant, &key.principal, key.route, &key.key], count)
}

/// The home of a `stream_home` row.
pub(crate) fn home_partition(aggregate_type: &str, name: &str, count: PartitionCount) -> Partition {
    hashed_partition(&[aggregate_type, name], count)
}

fn hashed_partition(parts: &[&str], count: PartitionCount) -> Partition {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(b"\0");
    }
    let bits = low_128(&hasher.finalize());
    let (low, _) = bits
        .to_le_bytes()
        .split_first_chunk()
        .map(|(head, _)| (u64::from_le_bytes(*head), ()))
        .expect("16 bytes have a first 8");
    partition_of_bits(low, count)
}

fn partition_of_bits(bits: u64, count: PartitionCount) -> Partition {
    let number = bits % u64::from(count.get());
    Partition(u16::try_from(number).expect("a remainder by a u16 fits a u16"))
}

#[cfg(test)]
mod tests {
    use events::TenantId;

    use super::*;

    #[test]
    fn a_stream_has_the_same_key_by_id_and_by_row() {
        let tenant = TenantId::parse("acme").expect("a tenant");
        let stream = StreamId::user(&tenant, uuid::Uuid::nil());
        let by_row = StreamKey::of_row("user", &stream.name());
        assert_eq!(StreamKey::of(&stream), by_row);
        assert_ne!(StreamKey::of_row("post", &stream.name()), by_row);
    }

    #[test]
    fn hashed_rows_spread_over_all_partitions() {
        let count = PartitionCount::new(4).expect("4 is a count");
        let homes: std::collections::BTreeSet<_> = (0..64)
            .map(|number| home_partition("post", &format!("acme/{number}"), count))
            .collect();
        assert_eq!(homes.len(), 4);
    }
}
