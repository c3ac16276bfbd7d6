//! What changed lately in one partition, so that a lane knows the true version of a stream without
//! reading under the lock.
//!
//! The window covers the positions after `begin`, up to and with `end`: a stream that changed there
//! is in it with its newest version; a stream that is not in it has not changed since `begin`. It
//! is fed by the lane's own commits, after they are known, and by the tails that other nodes wrote.

use std::collections::{HashMap, VecDeque};

use super::candidate::KeyMap;
use crate::key_hash::StreamKey;

/// The newest change of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) version: i64,
    pub(super) position: i64,
}

#[derive(Debug)]
struct Tracked {
    change: Change,
    key: Option<StreamKey>,
}

/// What a lane must do so that the window reaches the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Nothing: it is there.
    Current,
    /// Read the events at `after + 1 ..= upto`.
    Read { after: i64, upto: i64 },
    /// The head is behind what was committed: the store lost its tail, and nobody has said so yet.
    Lost,
}

/// The window of one partition in one incarnation.
#[derive(Debug)]
pub(super) struct Window {
    incarnation: i32,
    begin: i64,
    end: i64,
    streams_max: usize,
    changes: HashMap<i64, Tracked>,
    numbers: KeyMap<StreamKey, i64>,
    /// (position, stream number) of every change in order; what was overtaken by a newer change
    /// stays until it is evicted.
    order: VecDeque<(i64, i64)>,
}

impl Window {
    /// A window that begins at the head: it knows nothing older.
    pub(super) fn begin_at(incarnation: i32, head: i64, streams_max: usize) -> Self {
        Self {
            incarnation,
            begin: head,
            end: head,
            streams_max,
            changes: HashMap::new(),
            numbers: KeyMap::default(),
            order: VecDeque::new(),
        }
    }

    /// What is missing up to `head`. Begins anew by itself in another incarnation and behind a tail
    /// longer than `tail_max`.
    pub(super) fn follow(&mut self, incarnation: i32, head: i64, tail_max: i64) -> Follow {
        let behind = head - self.end;
        if incarnation != self.incarnation || behind > tail_max {
            *self = Self::begin_at(incarnation, head, self.streams_max);
        } else if behind < 0 {
            return Follow::Lost;
        }
        if self.end == head {
            return Follow::Current;
        }
        Follow::Read {
            after: self.end,
            upto: head,
        }
    }

    /// Where it begins: a decider that saw this head or a later one needs no read.
    pub(super) fn begin(&self) -> i64 {
        self.begin
    }

    /// The head that it reaches.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The number of a stream that it knows by name.
    pub(super) fn number(&self, key: StreamKey) -> Option<i64> {
        self.numbers.get(&key).copied()
    }

    /// The newest change of a stream, if it lies in the window.
    pub(super) fn change(&self, number: i64) -> Option<Change> {
        self.changes.get(&number).map(|tracked| tracked.change)
    }

    /// Takes in one committed event; events come in the order of their positions.
    pub(super) fn record(&mut self, number: i64, change: Change, key: Option<StreamKey>) {
        let tracked = self
            .changes
            .entry(number)
            .or_insert(Tracked { change, key });
        tracked.change = change;
        tracked.key = tracked.key.or(key);
        if let Some(key) = tracked.key {
            self.numbers.insert(key, number);
        }
        self.order.push_back((change.position, number));
        self.end = change.position;
        while self.changes.len() > self.streams_max || self.order.len() > 2 * self.streams_max {
            self.evict();
        }
    }

    /// Names a stream that was created in the window by another node.
    pub(super) fn name(&mut self, number: i64, key: StreamKey) {
        if let Some(tracked) = self.changes.get_mut(&number) {
            tracked.key = Some(key);
            self.numbers.insert(key, number);
        }
    }

    /// Forgets the oldest change; the window then begins behind it.
    fn evict(&mut self) {
        let Some((position, number)) = self.order.pop_front() else {
            return;
        };
        self.begin = position;
        let newest = self
            .changes
            .get(&number)
            .map(|tracked| tracked.change.position);
        if newest == Some(position)
            && let Some(Tracked { key: Some(key), .. }) = self.changes.remove(&number)
        {
            self.numbers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> StreamKey {
        StreamKey::of_row(events::Partition(0), "user", name)
    }

    fn window(streams_max: usize) -> Window {
        Window::begin_at(1, 10, streams_max)
    }

    fn at(version: i64, position: i64) -> Change {
        Change { version, position }
    }

    #[test]
    fn a_change_is_known_by_number_and_by_name() {
        let mut window = window(8);
        window.record(11, at(1, 11), Some(key("a")));
        window.record(11, at(2, 12), None);
        assert_eq!(window.number(key("a")), Some(11));
        assert_eq!(window.change(11), Some(at(2, 12)));
        assert_eq!((window.begin(), window.end()), (10, 12));
    }

    #[test]
    fn the_oldest_change_leaves_first_and_moves_the_beginning() {
        let mut window = window(2);
        window.record(11, at(1, 11), Some(key("a")));
        window.record(3, at(5, 12), None);
        window.record(13, at(1, 13), Some(key("b")));
        assert_eq!((window.change(11), window.number(key("a"))), (None, None));
        assert_eq!(window.begin(), 11);
        assert_eq!(window.change(3), Some(at(5, 12)));
    }

    #[test]
    fn one_hot_stream_does_not_grow_the_window() {
        let mut window = window(4);
        for position in 11..1000 {
            window.record(3, at(position, position), None);
        }
        assert!(window.order.len() <= 8);
        assert_eq!(window.change(3), Some(at(999, 999)));
        assert!(window.begin() < 999);
    }

    #[test]
    fn it_follows_a_head_or_begins_anew() {
        let mut window = window(8);
        assert_eq!(window.follow(1, 10, 100), Follow::Current);
        assert_eq!(
            window.follow(1, 15, 100),
            Follow::Read {
                after: 10,
                upto: 15
            }
        );
        assert_eq!(window.follow(1, 9, 100), Follow::Lost);
        window.record(11, at(1, 11), Some(key("a")));
        assert_eq!(window.follow(1, 500, 100), Follow::Current);
        assert_eq!((window.begin(), window.change(11)), (500, None));
        assert_eq!(window.follow(2, 4, 100), Follow::Current);
        assert_eq!((window.begin(), window.end()), (4, 4));
    }
}
