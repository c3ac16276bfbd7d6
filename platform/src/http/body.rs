//! Reads a request body within limits of size, time and rate. actix-web has no time limit for
//! bodies: a client that sends a byte a second would hold its connection for ever.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{HttpCode, Problem};
use crate::config::HttpSettings;

/// The rate counts from here on; a client is not judged by its first packet.
const RATE_GRACE: Duration = Duration::from_secs(1);

/// What a route's bodies may be; put another one into a route's `app_data` to change it there.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Largest body in bytes.
    pub max: usize,
    /// Time for the whole body.
    pub deadline: Duration,
    /// Bytes a second that must arrive on average, after the first second.
    pub rate_min: u64,
}

impl BodyLimits {
    /// The server's limits.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> BodyLimits {
        BodyLimits {
            max: settings.body_max,
            deadline: settings.read_timeout,
            rate_min: settings.body_rate_min,
        }
    }

    /// The same limits with another size, such as a batch route's.
    #[must_use]
    pub fn with_max(self, max: usize) -> BodyLimits {
        BodyLimits { max, ..self }
    }

    /// The limits of a request's route.
    ///
    /// # Panics
    /// When the request did not come through [`super::serve`].
    #[must_use]
    pub fn of(request: &HttpRequest) -> BodyLimits {
        *request
            .app_data::<BodyLimits>()
            .expect("`serve` gives every app its limits")
    }

    /// When the next byte must have arrived, given how many are there.
    fn next_deadline(&self, started: Instant, received: usize) -> Instant {
        let earned = Duration::from_secs_f64(received as f64 / self.rate_min.max(1) as f64);
        started + self.deadline.min(earned.max(RATE_GRACE))
    }
}

/// Reads a whole body.
///
/// # Errors
/// 413 when it is too large, 503 when it comes too slowly (nothing was done with it, so the
/// client may send it again), 400 when it breaks off.
pub async fn read_body(mut payload: Payload, limits: &BodyLimits) -> Result<Bytes, Problem> {
    let started = Instant::now();
    let mut body = BytesMut::new();
    loop {
        let until = limits.next_deadline(started, body.len());
        let chunk = match tokio::time::timeout_at(until, payload.next()).await {
            Err(_) => return Err(too_slow(limits)),
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(chunk)) => chunk.map_err(|error| broken(&error, limits))?,
        };
        if body.len() + chunk.len() > limits.max {
            return Err(too_large(limits));
        }
        body.extend_from_slice(&chunk);
    }
}

fn too_slow(limits: &BodyLimits) -> Problem {
    let BodyLimits {
        deadline, rate_min, ..
    } = limits;
    Problem::new(HttpCode::BodyTooSlow)
        .detail(format!(
            "a body must arrive within {} and at {rate_min} bytes a second or more",
            humantime::format_duration(*deadline)
        ))
        .retry_after(RATE_GRACE)
        .close_connection()
}

fn too_large(limits: &BodyLimits) -> Problem {
    Problem::new(HttpCode::BodyTooLarge)
        .detail(format!("at most {} bytes are allowed", limits.max))
        .close_connection()
}

fn broken(error: &PayloadError, limits: &BodyLimits) -> Problem {
    match error {
        PayloadError::Overflow => too_large(limits),
        _ => Problem::new(HttpCode::BadRequest)
            .detail("the body ended early or its framing is broken")
            .close_connection(),
    }
}
