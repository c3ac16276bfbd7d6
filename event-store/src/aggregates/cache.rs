//! Recently used aggregates, bounded by weight.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use events::StreamId;

use crate::entry::ReadMark;

/// What an entry of the cache costs beside the aggregate itself: moka's node, its two queues, and
/// the `Arc`.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// A state, the version that it stands at, and when that was true.
#[derive(Clone, Debug)]
pub(super) struct Cached<A> {
    pub(super) aggregate: A,
    pub(super) version: i64,
    /// The incarnation that wrote the last event.
    pub(super) written_in: i32,
    pub(super) mark: ReadMark,
}

pub(super) struct Cache<A> {
    states: moka::sync::Cache<StreamId, Arc<Cached<A>>>,
    /// The newest incarnation that any state was true in; an older state may stand on events that
    /// were lost.
    incarnation: AtomicI32,
}

impl<A: Clone + Send + Sync + 'static> Cache<A> {
    pub(super) fn new(bytes_max: u64) -> Self {
        let states = moka::sync::Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|stream, _| weight::<A>(stream))
            .build();
        Self {
            states,
            incarnation: AtomicI32::new(0),
        }
    }

    pub(super) fn get(&self, stream: &StreamId) -> Option<Arc<Cached<A>>> {
        self.states.get(stream)
    }

    /// Keeps a state. The first one of a newer incarnation empties the cache.
    pub(super) fn put(&self, stream: &StreamId, state: Cached<A>) -> Arc<Cached<A>> {
        let incarnation = state.mark.incarnation;
        if self.incarnation.fetch_max(incarnation, Ordering::AcqRel) < incarnation {
            self.states.invalidate_all();
        }
        let state = Arc::new(state);
        self.states.insert(stream.clone(), Arc::clone(&state));
        state
    }

    pub(super) fn forget(&self, stream: &StreamId) {
        self.states.invalidate(stream);
    }

    pub(super) fn clear(&self) {
        self.states.invalidate_all();
    }

    pub(super) fn len(&self) -> u64 {
        self.states.entry_count()
    }
}

/// Bytes of one entry. Aggregates hold no texts of their users, so their size on the stack is close
/// to the whole.
fn weight<A>(stream: &StreamId) -> u32 {
    let texts = stream.id.len() + stream.routing_key.len() + stream.tenant.as_str().len();
    let bytes = ENTRY_OVERHEAD_BYTES + size_of::<StreamId>() + size_of::<Cached<A>>() + texts;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use events::TenantId;
    use uuid::Uuid;

    use super::*;

    fn stream(number: u128) -> StreamId {
        StreamId::user(
            &TenantId::parse("acme").expect("a tenant"),
            Uuid::from_u128(number),
        )
    }

    fn state(incarnation: i32) -> Cached<u64> {
        Cached {
            aggregate: 7,
            version: 1,
            written_in: incarnation,
            mark: ReadMark {
                incarnation,
                head: 1,
            },
        }
    }

    #[test]
    fn it_holds_no_more_than_its_weight() {
        let cache = Cache::new(20 * u64::from(weight::<u64>(&stream(0))));
        (0..1000).for_each(|number| drop(cache.put(&stream(number), state(1))));
        cache.states.run_pending_tasks();
        assert!(cache.len() <= 20, "{}", cache.len());
    }

    #[test]
    fn a_newer_incarnation_empties_it() {
        let cache = Cache::new(1 << 20);
        cache.put(&stream(1), state(1));
        assert!(cache.get(&stream(1)).is_some());
        cache.put(&stream(2), state(2));
        assert!(cache.get(&stream(1)).is_none());
        assert!(cache.get(&stream(2)).is_some());
    }
}
