//! What the middleware of one API shares between its worker threads.

use std::net::IpAddr;
use std::sync::Arc;

use super::BodyLimits;
use super::rate_limit::Limits;
use crate::admin::Readiness;
use crate::auth::Verifier;
use crate::config::{HttpSettings, RateLimitSettings};

/// Wrong tokens that an address may send a second.
const FAILED_TOKENS: RateLimitSettings = RateLimitSettings {
    per_second: 20,
    burst: 20,
};

/// One API's middleware; clones are the same one.
#[derive(Clone)]
pub struct HttpStack {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) service: &'static str,
    pub(super) settings: HttpSettings,
    pub(super) body_limits: BodyLimits,
    pub(super) verifier: Verifier,
    /// None when it is off.
    pub(super) principals: Option<Limits<[u8; 16]>>,
    pub(super) failed_tokens: Limits<IpAddr>,
    /// The process's: while it drains, each answer is the last of its connection.
    pub(super) readiness: Readiness,
}

impl HttpStack {
    /// The middleware of an API; `service` is the label of its metrics, `readiness` the process's.
    #[must_use]
    pub fn new(
        service: &'static str,
        settings: HttpSettings,
        verifier: Verifier,
        readiness: &Readiness,
    ) -> HttpStack {
        let shared = Shared {
            service,
            body_limits: BodyLimits::new(&settings),
            principals: settings
                .rate_limit
                .map(|limit| Limits::new("principal", limit)),
            failed_tokens: Limits::new("failed-tokens", FAILED_TOKENS),
            settings,
            verifier,
            readiness: readiness.clone(),
        };
        HttpStack {
            shared: Arc::new(shared),
        }
    }
}
