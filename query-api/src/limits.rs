//! `GET /v1/limits`: every bound of reads, so that nobody has to find one by running into it.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Config;
use crate::state::State;

/// The route.
pub(crate) const PATH: &str = "/v1/limits";

/// Items of a page unless the client says otherwise.
pub(crate) const LIST_DEFAULT: u16 = 20;
/// Items of a page of users at most.
pub(crate) const LIST_MAX: u16 = 1000;
/// Ids of a batch read at most.
pub(crate) const IDS_MAX: usize = 100;

/// The published bounds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Items of a page unless `limit` says otherwise.
    list_default: u16,
    /// Items of a page of users at most; more is 422, never cut silently.
    list_max: u16,
    /// Ids of `?ids=` at most.
    ids_max: usize,
    /// How far an answer can be behind the view while the database works, in milliseconds.
    staleness_max_ms: u64,
    /// How old an answer can be while the database fails (`store_down`), in milliseconds.
    stale_kept_ms: u64,
    /// How long a read waits for its Consistency-Token, in milliseconds.
    token_wait_ms: u64,
    /// The longest such wait that `Prefer: wait=` can ask for, in milliseconds.
    token_wait_max_ms: u64,
    /// How long a read may take before it is answered 503, in milliseconds.
    read_deadline_ms: u64,
    /// Requests a second that one principal may send; 0 is no limit.
    rate_per_second: u32,
    /// Requests that one principal may send at once.
    rate_burst: u32,
}

impl Limits {
    /// What the settings say.
    pub(crate) fn new(config: &Config) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (query, http) = (&config.query, &config.http);
        Self {
            list_default: LIST_DEFAULT,
            list_max: LIST_MAX,
            ids_max: IDS_MAX,
            staleness_max_ms: milliseconds(query.cache_fresh),
            stale_kept_ms: milliseconds(query.cache_stale_max),
            token_wait_ms: milliseconds(query.token_wait),
            token_wait_max_ms: milliseconds(query.token_wait_max),
            read_deadline_ms: milliseconds(http.read_deadline),
            rate_per_second: http.rate_limit.map_or(0, |rate| rate.per_second),
            rate_burst: http.rate_limit.map_or(0, |rate| rate.burst),
        }
    }
}

pub(crate) async fn get(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(&state.limits)
}
