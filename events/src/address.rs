//! Where an event stands. Positions in a partition are 1, 2, 3 … without gaps, and position order
//! is commit order, so the same address serves in the store, in checkpoints, in cache stamps and in
//! the token that a client holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::murmur2::murmur2;
use crate::scope::TenantId;

/// The number of a partition, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl Partition {
    /// The number as Postgres keeps it (`integer`).
    #[must_use]
    pub fn as_i32(self) -> i32 {
        i32::from(self.0)
    }

    /// The number as an index into a per-partition array.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<i32> for Partition {
    type Error = std::num::TryFromIntError;

    fn try_from(number: i32) -> Result<Self, Self::Error> {
        u16::try_from(number).map(Self)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of an event: partition and position, written `3:1042` for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The partition.
    pub partition: Partition,
    /// The position in it, from 1; 0 is "before the first event".
    pub position: i64,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.position)
    }
}

/// How many partitions a store has; fixed when the store is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount(u16);

impl PartitionCount {
    /// The most partitions a store can have: a token names each of them once.
    pub const MAX: u16 = 1024;

    /// A count from 1 to [`Self::MAX`], or nothing.
    #[must_use]
    pub fn new(count: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&count).then_some(Self(count))
    }

    /// The count.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// All partitions, ascending.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }

    /// The partition of a routing key: `(murmur2(utf8(tenant "/" key)) & 0x7fffffff) mod P`, as the
    /// Kafka Java client places a record with that key.
    #[must_use]
    pub fn partition_of(self, tenant: &TenantId, routing_key: &str) -> Partition {
        let key = format!("{tenant}/{routing_key}");
        let hash = murmur2(key.as_bytes()) & 0x7fff_ffff;
        let number = hash % u32::from(self.0);
        Partition(u16::try_from(number).expect("a remainder by a u16 fits a u16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected numbers come from another implementation of the Java client's hash (in Python).
    #[test]
    fn a_routing_key_always_finds_the_same_partition() {
        let count = PartitionCount::new(16).expect("16 is a count");
        let tenant = TenantId::parse("acme").expect("a tenant");
        let of = |user: &str| count.partition_of(&tenant, user);
        assert_eq!(of("018f3c2e-0000-7000-8000-000000000001"), Partition(6));
        assert_eq!(of("018f3c2e-0000-7000-8000-000000000002"), Partition(0));
    }

    #[test]
    fn a_store_has_at_least_one_partition_and_at_most_the_maximum() {
        assert_eq!(PartitionCount::new(0), None);
        assert_eq!(PartitionCount::new(PartitionCount::MAX + 1), None);
        assert_eq!(PartitionCount::new(4).map(PartitionCount::get), Some(4));
    }
}
