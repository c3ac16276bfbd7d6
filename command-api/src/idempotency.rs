//! `Idempotency-Key`: which request a key belongs to, and which keys are in use by this process
//! right now.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use event_store::entry::OutcomeKey;
use events::TenantId;
use platform::secret::{HmacKey, SecretKey};

const FINGERPRINT_LABEL: &str = "request fingerprint 1";

/// Tells requests apart without keeping anything of them.
pub(crate) struct Fingerprints(HmacKey);

/// Everything of a request that makes it this request and no other.
pub(crate) struct RequestParts<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// As sent; absent and empty differ.
    pub(crate) if_match: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
}

impl Fingerprints {
    pub(crate) fn new(secret: &SecretKey) -> Self {
        Self(secret.derive(FINGERPRINT_LABEL))
    }

    pub(crate) fn of(&self, request: &RequestParts<'_>) -> [u8; 32] {
        let (has_if_match, if_match): (&[u8], &[u8]) = match request.if_match {
            Some(value) => (b"1", value),
            None => (b"0", b""),
        };
        self.0.authenticate(&[
            request.method.as_bytes(),
            request.path.as_bytes(),
            request.query.as_bytes(),
            has_if_match,
            if_match,
            request.body,
        ])
    }
}

/// The keys of the commands that run now. Bounded by the commands themselves, which are bounded by
/// connections and queues.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<(TenantId, OutcomeKey)>>>);

impl InFlight {
    /// Takes a key for as long as the guard lives; none while another command has it.
    pub(crate) fn begin(&self, tenant: &TenantId, key: &OutcomeKey) -> Option<InFlightKey> {
        let entry = (tenant.clone(), key.clone());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = keys.insert(entry.clone());
        taken.then(|| InFlightKey {
            entry,
            keys: self.clone(),
        })
    }
}

/// A key that is in use until this is dropped.
pub(crate) struct InFlightKey {
    entry: (TenantId, OutcomeKey),
    keys: InFlight,
}

impl Drop for InFlightKey {
    fn drop(&mut self) {
        self.keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_every_part_of_the_request() {
        let fingerprints = Fingerprints::new(&SecretKey::from_bytes([7; 32]));
        let base = RequestParts {
            method: "PATCH",
            path: "/v1/users/1",
            query: "",
            if_match: None,
            body: b"{}",
        };
        let same = RequestParts { ..base };
        assert_eq!(fingerprints.of(&base), fingerprints.of(&same));
        let others = [
            RequestParts {
                method: "PUT",
                ..base
            },
            RequestParts {
                path: "/v1/users/2",
                ..base
            },
            RequestParts {
                query: "a=1",
                ..base
            },
            RequestParts {
                if_match: Some(b""),
                ..base
            },
            RequestParts {
                if_match: Some(b"*"),
                ..base
            },
            RequestParts {
                body: b"{ }",
                ..base
            },
        ];
        let all: HashSet<_> = others
            .iter()
            .chain([&base])
            .map(|r| fingerprints.of(r))
            .collect();
        assert_eq!(all.len(), others.len() + 1);
    }

    #[test]
    fn a_key_is_in_flight_until_its_guard_is_dropped() {
        let in_flight = InFlight::default();
        let (acme, beta) = ("acme", "beta");
        let tenant = |name| TenantId::parse(name).expect("a tenant");
        let key = OutcomeKey {
            principal: "me".to_owned(),
            route: "POST /v1/users",
            key: "k".to_owned(),
        };
        let first = in_flight.begin(&tenant(acme), &key);
        assert!(first.is_some());
        assert!(in_flight.begin(&tenant(acme), &key).is_none());
        assert!(in_flight.begin(&tenant(beta), &key).is_some());
        drop(first);
        assert!(in_flight.begin(&tenant(acme), &key).is_some());
    }
}
