//! Hashes of keys: which stream a name means in memory, and which partition a row is homed in that
//! no stream homes.

use events::{Partition, PartitionCount, StreamId};

use crate::entry::{Claim, OutcomeKey};

/// A stream's partition, type and name as 128 bits of blake3: no allocation, and nobody can make
/// two names meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey(u128);

impl StreamKey {
    pub(crate) fn of(partition: Partition, stream: &StreamId) -> Self {
        Self::from_parts(&[
            &partition.0.to_le_bytes(),
            stream.aggregate_type.as_bytes(),
            b"\0",
            stream.tenant.as_str().as_bytes(),
            b"/",
            stream.id.as_bytes(),
        ])
    }

    /// From the columns of `event_store.stream`; the name is `tenant/id` already.
    pub(crate) fn of_row(partition: Partition, aggregate_type: &str, name: &str) -> Self {
        let partition = partition.0.to_le_bytes();
        Self::from_parts(&[
            &partition,
            aggregate_type.as_bytes(),
            b"\0",
            name.as_bytes(),
        ])
    }

    fn from_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(low_128(&hasher.finalize()))
    }
}

/// A claim, an idempotency key or a home as 128 bits of blake3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LockKey(u128);

impl LockKey {
    pub(crate) fn of_claim(tenant: &str, claim: &Claim) -> Self {
        Self::from_parts(&[tenant.as_bytes(), claim.kind.as_bytes(), &claim.key_hash])
    }

    pub(crate) fn of_outcome(tenant: &str, key: &OutcomeKey) -> Self {
        let OutcomeKey {
            principal,
            route,
            key,
        } = key;
        Self::from_parts(&[
            tenant.as_bytes(),
            principal.as_bytes(),
            route.as_bytes(),
            key.as_bytes(),
        ])
    }

    pub(crate) fn of_home(aggregate_type: &str, name: &str) -> Self {
        Self::from_parts(&[aggregate_type.as_bytes(), name.as_bytes()])
    }

    /// Each part with its length before it, so that no two lists of parts read the same.
    fn from_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&part.len().to_le_bytes());
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
    partition_of_bits(u128::from_le_bytes(*head), count)
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
    partition_of_bits(low_128(&hasher.finalize()), count)
}

fn partition_of_bits(bits: u128, count: PartitionCount) -> Partition {
    let number = bits % u128::from(count.get());
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
        let (here, there) = (Partition(2), Partition(3));
        let by_row = StreamKey::of_row(here, "user", &stream.name());
        assert_eq!(StreamKey::of(here, &stream), by_row);
        assert_ne!(StreamKey::of(there, &stream), by_row);
        assert_ne!(StreamKey::of_row(here, "post", &stream.name()), by_row);
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
