//! Which history of the store an address belongs to.
//!
//! After a failover to an asynchronous replica, or a restore, the store gives the same addresses to
//! other events. The store notices and begins a new incarnation, recording the heads it found;
//! everything above those heads that was said under an older incarnation is void.

use crate::address::{Address, Partition};

/// One incarnation of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// Its number, from 1.
    pub number: i32,
    /// The head of each partition when it began, by partition number.
    pub heads: Vec<i64>,
}

/// Every incarnation of the store, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationLog(Vec<Incarnation>);

impl IncarnationLog {
    /// A log from its rows in ascending order of number; nothing when there is no row or the order
    /// is wrong.
    #[must_use]
    pub fn new(rows: Vec<Incarnation>) -> Option<Self> {
        let ascending = rows.windows(2).all(|pair| pair[0].number < pair[1].number);
        (!rows.is_empty() && ascending).then_some(Self(rows))
    }

    /// The number of the incarnation that is being written now.
    #[must_use]
    pub fn current(&self) -> i32 {
        self.0.last().expect("a log is never empty").number
    }

    /// The rows, oldest first.
    #[must_use]
    pub fn rows(&self) -> &[Incarnation] {
        &self.0
    }

    /// The incarnation that wrote `address`: the greatest that began below it.
    #[must_use]
    pub fn of(&self, address: Address) -> i32 {
        self.0
            .iter()
            .rev()
            .find(|incarnation| began_at(incarnation, address.partition) < address.position)
            .unwrap_or(&self.0[0])
            .number
    }

    /// Whether what `incarnation` said about `address` was lost: a later one began below it. A
    /// number that was never handed out is void, too.
    #[must_use]
    pub fn is_void(&self, incarnation: i32, address: Address) -> bool {
        incarnation > self.current()
            || self.0.iter().any(|later| {
                later.number > incarnation && began_at(later, address.partition) < address.position
            })
    }
}

fn began_at(incarnation: &Incarnation, partition: Partition) -> i64 {
    incarnation
        .heads
        .get(partition.index())
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> IncarnationLog {
        IncarnationLog::new(vec![
            Incarnation {
                number: 1,
                heads: vec![0, 0],
            },
            Incarnation {
                number: 2,
                heads: vec![10, 5],
            },
            Incarnation {
                number: 3,
                heads: vec![8, 7],
            },
        ])
        .expect("ascending rows")
    }

    fn at(partition: u16, position: i64) -> Address {
        Address {
            partition: Partition(partition),
            position,
        }
    }

    #[test]
    fn an_address_belongs_to_the_last_incarnation_that_began_below_it() {
        assert_eq!(log().of(at(0, 8)), 1);
        assert_eq!(log().of(at(0, 9)), 3);
        assert_eq!(log().of(at(1, 6)), 2);
        assert_eq!(log().of(at(1, 8)), 3);
    }

    #[test]
    fn an_address_is_void_when_a_later_incarnation_began_below_it() {
        assert!(!log().is_void(1, at(0, 8)));
        assert!(log().is_void(1, at(0, 9)));
        assert!(log().is_void(2, at(1, 8)));
        assert!(!log().is_void(2, at(1, 7)));
        assert!(!log().is_void(3, at(0, 100)));
        assert!(log().is_void(4, at(0, 1)), "a number never handed out");
    }

    #[test]
    fn an_empty_or_disordered_log_is_refused() {
        assert_eq!(IncarnationLog::new(vec![]), None);
        let rows = vec![
            Incarnation {
                number: 2,
                heads: vec![],
            },
            Incarnation {
                number: 1,
                heads: vec![],
            },
        ];
        assert_eq!(IncarnationLog::new(rows), None);
    }
}
