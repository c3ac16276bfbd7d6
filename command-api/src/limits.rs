//! `GET /v1/limits`: every bound that a client can meet, so that nobody has to find one by running
//! into it.

use actix_web::{HttpResponse, web};
use domain::user::ACTIVITY_INTERVAL_MINUTES;
use platform::http::IDEMPOTENCY_KEY_MAX;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Config;

/// The route.
pub(crate) const PATH: &str = "/v1/limits";

/// The published bounds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Partitions of the event store; fixed when it was created.
    partitions: u16,
    /// Largest request body in bytes.
    body_bytes_max: usize,
    /// How long a body may take, in milliseconds.
    body_deadline_ms: u64,
    /// How long a command is waited for before it is answered 503 `outcome_unknown`, in
    /// milliseconds.
    command_deadline_ms: u64,
    /// Requests a second that one principal may send; 0 is no limit.
    rate_per_second: u32,
    /// Requests that one principal may send at once.
    rate_burst: u32,
    /// Commands that may wait for one user before others are answered 503 `queue_full`.
    stream_mailbox_max: usize,
    /// Commands that may wait for one append lane before others are answered 503 `queue_full`.
    append_queue_max: usize,
    /// Longest `Idempotency-Key` in characters.
    idempotency_key_max: usize,
    /// How long the answer of an `Idempotency-Key` is kept, in seconds.
    idempotency_retention_seconds: u64,
    /// A user's activity is recorded at most once in so many minutes.
    activity_interval_minutes: i64,
    /// Bounds of the fields.
    fields: FieldLimits,
}

/// The bounds of the fields, in characters unless they say otherwise.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct FieldLimits {
    id: usize,
    email: usize,
    name: usize,
    region: usize,
    bio: usize,
    avatar_url: usize,
}

/// What the value objects of [`events::user_fields`] allow; a test runs each of them against the
/// API.
const FIELDS: FieldLimits = FieldLimits {
    id: 36,
    email: 254,
    name: 100,
    region: 32,
    bio: 500,
    avatar_url: 2048,
};

impl Limits {
    /// What the settings say.
    pub(crate) fn new(config: &Config, partitions: u16) -> Self {
        let milliseconds =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let rate = config.http.rate_limit;
        Self {
            partitions,
            body_bytes_max: config.http.body_max,
            body_deadline_ms: milliseconds(config.http.read_timeout),
            command_deadline_ms: milliseconds(config.command.deadline),
            rate_per_second: rate.map_or(0, |rate| rate.per_second),
            rate_burst: rate.map_or(0, |rate| rate.burst),
            stream_mailbox_max: config.command.mailbox_max,
            append_queue_max: config.command.append_queue_max,
            idempotency_key_max: IDEMPOTENCY_KEY_MAX,
            idempotency_retention_seconds: config.command.outcome_retention.as_secs(),
            activity_interval_minutes: ACTIVITY_INTERVAL_MINUTES,
            fields: FIELDS,
        }
    }
}

pub(crate) async fn get(limits: web::Data<Limits>) -> HttpResponse {
    HttpResponse::Ok().json(limits.get_ref())
}
