//! The channel on which the projector tells every query process what a batch touched, so that they
//! forget it in process. A channel and not client tracking: the message says the position, too,
//! which wakes who waits for it; it comes once a batch; and fills and expiries say nothing. It is a
//! hint: whoever misses a message finds out by reading, because an entry is fresh for a second.

use events::{Partition, TenantId};
use serde::{Deserialize, Serialize};

use super::Namespace;
use crate::applied::Applied;
use crate::projection::Touched;

/// More keys than this go into several messages.
pub const MESSAGE_KEYS_MAX: usize = 500;

/// The channel of a store.
#[must_use]
pub fn channel(namespace: &Namespace) -> String {
    format!("{}:touched", namespace.as_str())
}

#[derive(Serialize, Deserialize)]
struct Message {
    projection: String,
    generation: i32,
    partition: Partition,
    position: i64,
    /// Tenant and id.
    touched: Vec<(TenantId, String)>,
}

/// The messages of a batch, as JSON; at least one.
#[must_use]
pub fn messages(applied: &Applied) -> Vec<String> {
    let key = |touched: &Touched| (touched.tenant.clone(), touched.id.clone());
    let message = |touched: &[Touched]| {
        let message = Message {
            projection: applied.projection.to_owned(),
            generation: applied.generation,
            partition: applied.partition,
            position: applied.position,
            touched: touched.iter().map(key).collect(),
        };
        serde_json::to_string(&message).expect("texts and numbers only")
    };
    if applied.touched.is_empty() {
        return vec![message(&[])];
    }
    applied
        .touched
        .chunks(MESSAGE_KEYS_MAX)
        .map(message)
        .collect()
}

/// Reads a message; nothing when it is none, or of a projection that this binary does not know.
#[must_use]
pub fn read(payload: &[u8]) -> Option<Applied> {
    let message: Message = serde_json::from_slice(payload).ok()?;
    let projection = crate::projection(&message.projection)?.name();
    let touched = message.touched.into_iter();
    Some(Applied {
        projection,
        generation: message.generation,
        partition: message.partition,
        position: message.position,
        touched: touched.map(|(tenant, id)| Touched { tenant, id }).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_in_messages_of_bounded_size_and_read_back() {
        let touched = |n: usize| Touched {
            tenant: TenantId::parse("acme").expect("a tenant"),
            id: n.to_string(),
        };
        let applied = Applied {
            projection: crate::user_view::NAME,
            generation: 3,
            partition: Partition(2),
            position: 77,
            touched: (0..MESSAGE_KEYS_MAX + 1).map(touched).collect(),
        };
        let read: Vec<_> = messages(&applied)
            .iter()
            .filter_map(|message| read(message.as_bytes()))
            .collect();
        assert_eq!(read.len(), 2);
        let all: Vec<_> = read.iter().flat_map(|one| one.touched.iter()).collect();
        assert_eq!(all, applied.touched.iter().collect::<Vec<_>>());
        assert!(
            read.iter()
                .all(|one| (one.generation, one.position) == (3, 77))
        );
        assert!(super::read(b"{}").is_none());
    }
}
