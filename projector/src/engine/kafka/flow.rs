//! The decisions about one partition: whether Kafka continues a cursor, whether it left something
//! out, and when it has been silent for too long. No broker and no clock in here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use events::{IncarnationLog, RecordedEvent};

use crate::engine::metrics;

/// A hint is believed when the first record there is no further behind the cursor than this: a
/// relay that took over repeats a few, but a wrong offset would make us read half the topic.
const HINT_BEHIND_MAX: i64 = 1_000;

/// A record that was read and belongs to this store and partition.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) offset: i64,
    pub(super) incarnation: i32,
    pub(super) event: RecordedEvent,
}

impl Arrived {
    fn position(&self) -> i64 {
        self.event.address.position
    }
}

/// Whether what stands before the first record that Kafka will give is known to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Kafka is not being read.
    Detached,
    /// It is read from the topic's end on: the store must be read up to its head once.
    Open,
    /// It is read from where a checkpoint said: the first record tells whether that was true.
    Hinted,
    /// Kafka gives `front + 1` next, or repeats what was before.
    Proven,
}

/// Where a cursor is to be continued from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Kafka,
    /// The event store, no further than `upto`: from there on Kafka has it.
    Store {
        upto: i64,
    },
}

/// What Kafka came to.
#[derive(Debug)]
pub(super) enum Taken {
    /// Events that continue the cursor, and the offset after the last of them.
    Run {
        events: Vec<RecordedEvent>,
        kafka_offset: i64,
        head: i64,
    },
    /// The next record stands at `upto + 1`: what is before it must come from the store.
    Hole { upto: i64 },
    /// The head has been above the cursor for too long.
    Silent,
    /// Nothing yet.
    Nothing { head: i64 },
    /// The hint was wrong.
    Lied,
}

/// One partition's flow.
#[derive(Debug)]
pub(super) struct Flow {
    start: Start,
    /// Changes with every attachment, so that what began under an older one proves nothing.
    attachment: u64,
    pending: VecDeque<Arrived>,
    /// The last position that Kafka has passed: what a slower cursor lacks below comes from the
    /// store.
    front: i64,
    /// The furthest cursor.
    at: i64,
    /// The same when a head was last heard of: a lower head is a store that lost its tail.
    at_before: i64,
    head: i64,
    behind_since: Option<Instant>,
    /// Nothing at all has come since Kafka was found silent: then the store is read at once.
    is_silent: bool,
    is_doubted: bool,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            start: Start::Detached,
            attachment: 0,
            pending: VecDeque::new(),
            front: 0,
            at: 0,
            at_before: 0,
            head: 0,
            behind_since: None,
            is_silent: false,
            is_doubted: false,
        }
    }

    /// Kafka is read from now on: from where the checkpoint said, or from the topic's end.
    pub(super) fn attach(&mut self, hinted: bool) {
        self.detach();
        self.start = if hinted { Start::Hinted } else { Start::Open };
    }

    /// Kafka is not read any more.
    pub(super) fn detach(&mut self) {
        self.start = Start::Detached;
        self.attachment += 1;
        self.pending.clear();
        self.front = 0;
        self.is_silent = false;
    }

    pub(super) fn attachment(&self) -> u64 {
        self.attachment
    }

    /// Where the cursor at `after` is to be continued from.
    pub(super) fn route(&mut self, after: i64) -> Route {
        self.at = self.at.max(after);
        if std::mem::take(&mut self.is_doubted) {
            return Route::Store { upto: i64::MAX };
        }
        match self.start {
            Start::Detached | Start::Open => Route::Store { upto: i64::MAX },
            Start::Proven if after < self.front => Route::Store { upto: self.front },
            Start::Hinted | Start::Proven => Route::Kafka,
        }
    }

    /// How many records wait to be taken.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The offset of the next record that was not handed out.
    pub(super) fn first_pending(&self) -> Option<i64> {
        self.pending.front().map(|arrived| arrived.offset)
    }

    /// The newest incarnation that a waiting record is from.
    pub(super) fn newest_incarnation(&self) -> Option<i32> {
        self.pending.iter().map(|arrived| arrived.incarnation).max()
    }

    /// Kafka gave something, whatever it is.
    pub(super) fn hear_from_kafka(&mut self) {
        self.is_silent = false;
    }

    pub(super) fn push(&mut self, arrived: Arrived) {
        self.pending.push_back(arrived);
    }

    /// Drops what a later incarnation made void; how many that were.
    pub(super) fn drop_void(&mut self, log: &IncarnationLog) -> usize {
        let before = self.pending.len();
        self.pending
            .retain(|arrived| !log.is_void(arrived.incarnation, arrived.event.address));
        before - self.pending.len()
    }

    /// Drops the next record: the store has no such event.
    pub(super) fn drop_first(&mut self) {
        self.pending.pop_front();
    }

    /// What continues the cursor at `after`.
    pub(super) fn take(
        &mut self,
        after: i64,
        limit: usize,
        now: Instant,
        silence_max: Duration,
    ) -> Taken {
        if self.start == Start::Hinted
            && let Some(first) = self.pending.front()
        {
            let position = first.position();
            if position > after + 1 || position + HINT_BEHIND_MAX < after {
                return Taken::Lied;
            }
            self.start = Start::Proven;
            self.front = position - 1;
        }
        let mut run = Vec::new();
        let (mut last, mut kafka_offset) = (after, 0);
        while run.len() < limit
            && let Some(first) = self
                .pending
                .pop_front_if(|next| next.position() <= last + 1)
        {
            self.front = self.front.max(first.position());
            if first.position() <= last {
                metrics::DUPLICATES_DROPPED.inc();
                continue;
            }
            last = first.position();
            kafka_offset = first.offset + 1;
            run.push(first.event);
        }
        self.at = self.at.max(last);
        if !run.is_empty() {
            self.behind_since = (self.head > last).then_some(now);
            return Taken::Run {
                events: run,
                kafka_offset,
                head: self.head.max(last),
            };
        }
        if let Some(next) = self.pending.front() {
            let upto = next.position() - 1;
            return Taken::Hole { upto };
        }
        let is_over = |since| self.is_silent || now.duration_since(since) >= silence_max;
        if self.behind_since.is_some_and(is_over) {
            return Taken::Silent;
        }
        Taken::Nothing {
            head: self.head.max(after),
        }
    }

    /// Somebody says that there are new events, and perhaps where they end.
    pub(super) fn hear(&mut self, head: Option<i64>, now: Instant) {
        match head {
            Some(head) => {
                self.is_doubted |= head < self.at_before;
                self.at_before = self.at;
                self.head = head;
                if head > self.at {
                    self.behind_since.get_or_insert(now);
                }
            }
            // Without a number nothing says that Kafka has not given them already.
            None if self.is_silent => {
                self.behind_since.get_or_insert(now);
            }
            None => {}
        }
    }

    /// The store gave what a cursor lacked up to `last`; this was its head before.
    pub(super) fn store_gave(&mut self, last: i64, head: i64, attachment: u64, now: Instant) {
        self.head = head;
        if last < self.at {
            // A slower cursor's.
            return;
        }
        self.at = last;
        if last < head {
            self.behind_since.get_or_insert(now);
            return;
        }
        self.behind_since = None;
        if self.start == Start::Open && self.attachment == attachment {
            self.start = Start::Proven;
            self.front = last;
        }
    }

    /// Kafka was silent while the store had something.
    pub(super) fn be_silent(&mut self) {
        self.is_silent = true;
    }

    /// How long Kafka may still be silent; none when nobody waits for the end of that.
    pub(super) fn rest(&self, now: Instant, silence_max: Duration) -> Option<Duration> {
        let since = self.behind_since.filter(|_| !self.is_silent)?;
        Some(silence_max.saturating_sub(now.duration_since(since)))
    }

    /// Whether everything that Kafka gave stands at or below `position`.
    pub(super) fn has_applied(&self, position: i64) -> bool {
        self.start == Start::Proven && position >= self.front
    }
}
