//! What one worker saw of tokens within the last second.
//!
//! The shared caches of verified tokens and of rate limits cost a cached read about a tenth of its
//! processor time: a digest of the token, two look-ups, and the caches' housekeeping. Clients send
//! the same token again and again, so a worker asks the shared ones once a second and token.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderValue;

use super::rate_limit::{BUCKET_KEPT_FOR, Bucket};
use crate::auth::Verified;

/// How long a worker believes what the shared caches said: a key that is taken out of the key set
/// goes on for so much longer.
const BELIEVED_FOR: Duration = BUCKET_KEPT_FOR;
/// Tokens remembered by a worker.
const SLOTS: usize = 1024;

/// Who sent a request, by a token that was verified.
#[derive(Clone)]
pub(super) struct Principal {
    pub(super) verified: Arc<Verified>,
    /// What is left of the principal's limit, if there is one.
    pub(super) bucket: Option<Arc<Bucket>>,
}

struct Slot {
    /// A copy: a header is a slice of all that was read with it.
    header: Box<[u8]>,
    principal: Principal,
    until: Instant,
}

/// A slot a token; a later token takes it over.
pub(super) struct Recent {
    slots: RefCell<Vec<Option<Slot>>>,
}

impl Default for Recent {
    fn default() -> Recent {
        let slots = std::iter::repeat_with(|| None).take(SLOTS).collect();
        Recent {
            slots: RefCell::new(slots),
        }
    }
}

impl Recent {
    /// Who sent this very `Authorization` header within the last second.
    pub(super) fn get(&self, header: &HeaderValue, now: Instant) -> Option<Principal> {
        let mut slots = self.slots.borrow_mut();
        let place = &mut slots[index(header)];
        drop(place.take_if(|slot| now >= slot.until));
        let slot = place.as_ref()?;
        let known = *slot.header == *header.as_bytes() && slot.principal.verified.is_alive();
        known.then(|| slot.principal.clone())
    }

    /// Remembers what the shared caches said, no longer than they would.
    pub(super) fn put(&self, header: &HeaderValue, principal: &Principal, now: Instant) {
        let until = (now + BELIEVED_FOR).min(principal.verified.remembered_until);
        self.slots.borrow_mut()[index(header)] = Some(Slot {
            header: header.as_bytes().into(),
            principal: principal.clone(),
            until,
        });
    }
}

/// A token ends with its signature, which is as good as a hash of it. Only tokens that were
/// verified take slots, so nobody can take away another's by inventing some.
fn index(header: &HeaderValue) -> usize {
    let bytes = header.as_bytes();
    let end = &bytes[bytes.len().saturating_sub(16)..];
    let mixed = end.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    mixed % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Claims, Role};

    fn principal(sub: &str, remembered_for: Duration, expires_at: u64) -> Principal {
        Principal {
            verified: Arc::new(Verified {
                claims: Claims {
                    tenant: "acme".to_owned(),
                    sub: sub.to_owned(),
                    role: Role::User,
                },
                expires_at,
                principal: [0; 16],
                remembered_until: Instant::now() + remembered_for,
            }),
            bucket: None,
        }
    }

    fn sub(found: Option<Principal>) -> Option<String> {
        found.map(|principal| principal.verified.claims.sub.clone())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_known_by_the_whole_of_it_and_another_of_the_same_slot_takes_its_place() {
        let (recent, now) = (Recent::default(), Instant::now());
        let ada = HeaderValue::from_static("Bearer ada.0123456789abcdef");
        let eve = HeaderValue::from_static("Bearer eve.0123456789abcdef");
        assert_eq!(index(&ada), index(&eve));
        recent.put(&ada, &principal("ada", MINUTE, u64::MAX), now);
        assert_eq!(sub(recent.get(&ada, now)).as_deref(), Some("ada"));
        assert_eq!(sub(recent.get(&eve, now)), None);
        recent.put(&eve, &principal("eve", MINUTE, u64::MAX), now);
        assert_eq!(sub(recent.get(&eve, now)).as_deref(), Some("eve"));
        assert_eq!(sub(recent.get(&ada, now)), None);
    }

    #[test]
    fn the_shared_caches_are_asked_again_after_a_second() {
        let (recent, now) = (Recent::default(), Instant::now());
        let header = HeaderValue::from_static("Bearer x");
        recent.put(&header, &principal("ada", MINUTE, u64::MAX), now);
        assert!(
            recent
                .get(&header, now + Duration::from_millis(999))
                .is_some()
        );
        assert!(recent.get(&header, now + Duration::from_secs(1)).is_none());
        assert!(recent.get(&header, now).is_none(), "it is forgotten");
    }

    #[test]
    fn nothing_is_known_past_the_end_of_the_token_or_of_the_shared_memory() {
        let (recent, now) = (Recent::default(), Instant::now());
        let header = HeaderValue::from_static("Bearer x");
        recent.put(&header, &principal("ada", Duration::ZERO, u64::MAX), now);
        let later = now + Duration::from_millis(500);
        assert!(
            recent.get(&header, later).is_none(),
            "TOKEN_CACHE_TTL is over"
        );
        recent.put(&header, &principal("ada", MINUTE, 1), now);
        assert!(recent.get(&header, now).is_none(), "exp is over");
    }
}
