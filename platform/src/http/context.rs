//! What the stack knows of a request: its id, its trace and who sent it.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::sync::{Arc, LazyLock};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::{HttpCode, Problem};

/// Longest `X-Request-Id` that is taken over.
const REQUEST_ID_MAX: usize = 128;

/// Identifies a request in answers, logs and traces.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The client's `X-Request-Id`, or one of ours.
    pub request_id: Arc<str>,
    /// W3C `traceparent` to store in event metadata; ours when traces are exported, otherwise
    /// the caller's.
    pub traceparent: Option<Arc<str>>,
}

impl FromRequest for RequestContext {
    type Error = Problem;
    type Future = Ready<Result<RequestContext, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = request.extensions().get::<RequestContext>().cloned();
        ready(context.ok_or_else(|| Problem::new(HttpCode::Internal)))
    }
}

/// The client's id, when it is 1 to 128 visible ASCII characters; otherwise a new one.
pub(super) fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok());
    let usable = given.filter(|id| {
        (1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    });
    usable.map_or_else(new_request_id, Arc::from)
}

/// Unique without a system call per request: random per process, then thread and counter.
fn new_request_id() -> Arc<str> {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().0);
    static THREADS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    thread_local! {
        static THREAD: u32 = THREADS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        static COUNTER: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNTER.with(|counter| counter.replace(counter.get() + 1));
    format!(
        "{:016x}{:04x}{count:012x}",
        *PROCESS,
        THREAD.with(|thread| *thread)
    )
    .into()
}

/// A `traceparent` that follows the W3C grammar, and its trace id.
pub(super) fn trace_parent(headers: &HeaderMap) -> Option<(&str, &str)> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let well_formed = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    (well_formed && known && nonzero(trace) && nonzero(span)).then_some((text, trace))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.insert(HeaderName::from_static(name), value);
        headers
    }

    #[test]
    fn a_request_id_of_visible_ascii_is_kept_and_any_other_is_replaced() {
        let id = |value: &str| request_id(&headers("x-request-id", value));
        assert_eq!(&*id("abc-1"), "abc-1");
        let longest = "x".repeat(128);
        assert_eq!(*id(&longest), longest);
        for wrong in ["", "two words", "ümlaut", &"x".repeat(129)] {
            let replaced = id(wrong);
            assert_eq!(replaced.len(), 32, "{wrong}");
            assert_ne!(replaced, id(wrong));
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_believed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{trace}-00f067aa0ba902b7-01");
        let parsed = headers("traceparent", &good);
        assert_eq!(trace_parent(&parsed), Some((good.as_str(), trace)));
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let more = format!("{good}-extra");
        for wrong in [
            "",
            "00",
            &zero,
            &more,
            &good.replace("00-", "ff-"),
            &good.to_uppercase(),
        ] {
            assert_eq!(
                trace_parent(&headers("traceparent", wrong)),
                None,
                "{wrong}"
            );
        }
    }
}
