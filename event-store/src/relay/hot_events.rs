//! Events that a lane has just committed, on their way to the relay of the same process without
//! a read from the store.
//!
//! It is a short cut and never a source of its own: what does not follow on what the relay sent
//! last is read from the store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use events::{Partition, PartitionCount, RecordedEvent};

/// Events that are kept for one partition.
const EVENTS_MAX: usize = 1024;

/// Bytes of their payloads and metadata.
const BYTES_MAX: usize = 1024 * 1024;

/// The events of every partition.
#[derive(Debug)]
pub(crate) struct HotEvents(Vec<Hot>);

#[derive(Debug, Default)]
struct Hot {
    wanted: AtomicBool,
    queue: Mutex<Queue>,
}

/// Contiguous events of one incarnation.
#[derive(Debug, Default)]
struct Queue {
    incarnation: i32,
    bytes: usize,
    events: VecDeque<RecordedEvent>,
}

impl HotEvents {
    pub(crate) fn new(count: PartitionCount) -> Self {
        Self(count.iter().map(|_| Hot::default()).collect())
    }

    /// Whether a relay of this process is there to take the partition's events.
    pub(crate) fn wants(&self, partition: Partition) -> bool {
        self.0[partition.index()].wanted.load(Ordering::Relaxed)
    }

    /// Says whether it is; what is kept goes when it is not.
    pub(crate) fn want(&self, partition: Partition, wanted: bool) {
        let hot = &self.0[partition.index()];
        hot.wanted.store(wanted, Ordering::Relaxed);
        if !wanted {
            hot.queue().clear();
        }
    }

    /// Takes events in right after their commit. What does not follow on the kept ones replaces
    /// them, and so does what would be too much: then the store has the older ones.
    pub(crate) fn offer(&self, incarnation: i32, event: RecordedEvent) {
        let hot = &self.0[event.address.partition.index()];
        let mut queue = hot.queue();
        let last = queue.events.back().map(|last| last.address.position + 1);
        let follows = last.is_none_or(|next| next == event.address.position);
        let full = queue.events.len() >= EVENTS_MAX || queue.bytes >= BYTES_MAX;
        if queue.incarnation != incarnation || !follows || full {
            queue.clear();
        }
        queue.incarnation = incarnation;
        queue.bytes += bytes(&event);
        queue.events.push_back(event);
    }

    /// At most `count` events right after `after`; none when the next one is not kept.
    pub(crate) fn take(
        &self,
        partition: Partition,
        incarnation: i32,
        after: i64,
        count: usize,
    ) -> Vec<RecordedEvent> {
        let mut queue = self.0[partition.index()].queue();
        if queue.incarnation != incarnation {
            queue.clear();
        }
        while queue
            .events
            .front()
            .is_some_and(|event| event.address.position <= after)
        {
            queue.pop();
        }
        let next = queue.events.front().map(|event| event.address.position);
        if next != Some(after + 1) {
            return Vec::new();
        }
        let count = count.min(queue.events.len());
        (0..count).filter_map(|_| queue.pop()).collect()
    }
}

impl Hot {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<RecordedEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= bytes(&event);
        Some(event)
    }

    fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }
}

fn bytes(event: &RecordedEvent) -> usize {
    event.payload.get().len() + event.metadata.get().len()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::{Address, TenantId};
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;

    fn event(position: i64) -> RecordedEvent {
        let raw = || RawValue::from_string("{}".to_owned()).unwrap();
        RecordedEvent {
            address: Address {
                partition: Partition(0),
                position,
            },
            stream_no: 1,
            sequence: position,
            event_id: Uuid::nil(),
            tenant: TenantId::parse("acme").unwrap(),
            aggregate_type: "test".to_owned(),
            aggregate_id: "1".to_owned(),
            routing_key: "1".to_owned(),
            event_type: "Happened".to_owned(),
            event_version: 1,
            payload: raw(),
            metadata: raw(),
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    fn take(hot: &HotEvents, incarnation: i32, after: i64) -> Vec<i64> {
        let taken = hot.take(Partition(0), incarnation, after, 10);
        taken.iter().map(|event| event.address.position).collect()
    }

    fn filled(positions: &[i64]) -> HotEvents {
        let hot = HotEvents::new(PartitionCount::new(1).unwrap());
        positions
            .iter()
            .for_each(|&position| hot.offer(1, event(position)));
        hot
    }

    #[test]
    fn only_what_comes_next_is_taken() {
        assert_eq!(take(&filled(&[3, 4, 5]), 1, 2), [3, 4, 5]);
        assert_eq!(take(&filled(&[3, 4, 5]), 1, 3), [4, 5]);
        assert_eq!(take(&filled(&[3, 4, 5]), 1, 1), [0_i64; 0]);
        assert_eq!(
            take(&filled(&[3, 4, 8]), 1, 2),
            [0_i64; 0],
            "another node appended 5 to 7"
        );
    }

    #[test]
    fn a_change_of_incarnation_empties_it() {
        let hot = filled(&[3, 4]);
        assert_eq!(take(&hot, 2, 2), [0_i64; 0]);
        assert_eq!(take(&hot, 1, 2), [0_i64; 0]);
    }

    #[test]
    fn it_is_bounded() {
        let positions: Vec<_> = (1..=i64::try_from(EVENTS_MAX).unwrap() + 1).collect();
        let last = *positions.last().unwrap();
        let hot = filled(&positions);
        assert_eq!(take(&hot, 1, last - 1), [last], "the older ones went");
    }
}
