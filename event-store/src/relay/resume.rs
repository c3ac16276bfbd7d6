//! Where a partition goes on: a decision on what the topic and the store hold, without I/O.

use std::collections::HashMap;

use uuid::Uuid;

use super::StopReason;
use super::topic_log::Ends;

/// A record of this store that is not void, in the topic's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) position: i64,
    pub(super) event_id: Uuid,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ends: Ends,
    /// The record at the beginning of the log; nothing when it is foreign or void.
    pub(super) first: Option<Seen>,
    /// The last records, without the foreign and the void ones.
    pub(super) tail: Vec<Seen>,
    /// Whether they are all that the log holds.
    pub(super) whole: bool,
    /// The store's head.
    pub(super) head: i64,
    /// Below this position the store's events are in the archive.
    pub(super) floor: i64,
    /// The lower bound that Postgres holds, and is not void.
    pub(super) bound: i64,
    /// The store's event at each position that `first` and `tail` name.
    pub(super) stored: HashMap<i64, Uuid>,
    /// An operator asked for what the topic lacks.
    pub(super) asked: bool,
}

/// Where a partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// After this position.
    After(i64),
    /// From the beginning.
    Refill {
        /// What the log holds came out of order, and goes first.
        cut: bool,
    },
    /// Not at all, until somebody has put something right.
    Stop(StopReason, i64),
}

impl Found {
    /// Decides.
    pub(super) fn decide(&self) -> Decision {
        let Ends { low, high } = self.ends;
        if high == 0 {
            return Decision::Refill { cut: false };
        }
        if low == high {
            return self.expired();
        }
        for seen in self.first.iter().chain(&self.tail) {
            if seen.position > self.head {
                return Decision::Stop(StopReason::TopicAhead, seen.position);
            }
            let archived = seen.position <= self.floor;
            if !archived && self.stored.get(&seen.position) != Some(&seen.event_id) {
                return Decision::Stop(StopReason::OtherHistory, seen.position);
            }
        }
        let begins_at = self
            .first
            .or(self.tail.first().filter(|_| self.whole).copied());
        let begins_late = begins_at.is_some_and(|first| first.position > self.floor + 1);
        // What expired is cut off at the front, so the offset of what is left is not 0. A log that
        // begins at offset 0 with a later event was written by a relay that had not noticed that
        // the topic was made again; and with the bound at 0 a refill has not come far.
        if begins_late && (low == 0 || self.bound == 0 || self.asked) {
            return Decision::Refill { cut: true };
        }
        match self.tail.first() {
            Some(first) => Decision::After(self.contiguous_from(first.position)),
            // Nothing but void and foreign records.
            None if low == 0 => Decision::Refill { cut: false },
            None => self.expired(),
        }
    }

    /// The log was emptied from the front: no loss, unless somebody says that it is one.
    fn expired(&self) -> Decision {
        if self.head > 0 && (self.asked || self.bound == 0) {
            Decision::Refill { cut: false }
        } else {
            Decision::After(self.bound.min(self.head))
        }
    }

    /// What every reader of the log has certainly seen. A lower position is a duplicate; behind a
    /// hole nothing counts.
    fn contiguous_from(&self, first: i64) -> i64 {
        let mut last = first - 1;
        for seen in &self.tail {
            if seen.position == last + 1 {
                last += 1;
            } else if seen.position > last + 1 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(position: i64) -> Uuid {
        Uuid::from_u128(u128::try_from(position).unwrap())
    }

    fn seen(positions: &[i64]) -> Vec<Seen> {
        let seen = |&position| Seen {
            position,
            event_id: id(position),
        };
        positions.iter().map(seen).collect()
    }

    /// A log from offset `low`, whose last records are `tail`, over a store of 100 events.
    fn found(low: i64, high: i64, tail: &[i64]) -> Found {
        Found {
            ends: Ends { low, high },
            first: seen(&[if low == 0 { 1 } else { low + 1 }]).pop(),
            tail: seen(tail),
            whole: false,
            head: 100,
            floor: 0,
            bound: 40,
            stored: (1..=100).map(|position| (position, id(position))).collect(),
            asked: false,
        }
    }

    #[test]
    fn it_goes_on_after_what_the_topic_holds_without_a_hole() {
        assert_eq!(found(0, 60, &[58, 59, 60]).decide(), Decision::After(60));
        let with_duplicates = found(0, 64, &[58, 59, 60, 57, 58, 60, 61]);
        assert_eq!(with_duplicates.decide(), Decision::After(61));
    }

    #[test]
    fn behind_a_hole_nothing_counts() {
        assert_eq!(
            found(0, 60, &[57, 58, 60, 61]).decide(),
            Decision::After(58)
        );
    }

    #[test]
    fn an_empty_log_is_new_and_one_that_was_emptied_is_not() {
        assert_eq!(found(0, 0, &[]).decide(), Decision::Refill { cut: false });
        assert_eq!(found(60, 60, &[]).decide(), Decision::After(40));
    }

    #[test]
    fn a_log_that_was_emptied_is_filled_when_somebody_asks() {
        let asked = Found {
            asked: true,
            ..found(60, 60, &[])
        };
        assert_eq!(asked.decide(), Decision::Refill { cut: false });
        let asked = Found {
            asked: true,
            ..found(30, 60, &[59, 60])
        };
        assert_eq!(asked.decide(), Decision::Refill { cut: true });
        assert_eq!(found(30, 60, &[59, 60]).decide(), Decision::After(60));
    }

    #[test]
    fn a_log_that_begins_in_the_middle_is_cut_and_filled() {
        let late = Found {
            first: seen(&[41]).pop(),
            ..found(0, 2, &[41, 42])
        };
        assert_eq!(late.decide(), Decision::Refill { cut: true });
    }

    #[test]
    fn a_refill_that_was_broken_off_behind_somebody_elses_record_begins_anew() {
        let broken = Found {
            first: seen(&[50]).pop(),
            bound: 0,
            ..found(4, 8, &[50, 51, 1, 2])
        };
        assert_eq!(broken.decide(), Decision::Refill { cut: true });
    }

    #[test]
    fn a_topic_that_is_ahead_of_the_store_or_holds_another_event_stops_it() {
        let ahead = found(0, 101, &[100, 101]).decide();
        assert_eq!(ahead, Decision::Stop(StopReason::TopicAhead, 101));
        let mut other = found(0, 60, &[59, 60]);
        other.stored.insert(60, id(7));
        assert_eq!(other.decide(), Decision::Stop(StopReason::OtherHistory, 60));
    }

    #[test]
    fn a_log_of_void_records_only_is_filled() {
        let void = Found {
            first: None,
            whole: true,
            ..found(0, 9, &[])
        };
        assert_eq!(void.decide(), Decision::Refill { cut: false });
    }
}
