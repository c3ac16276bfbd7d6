//! What is told of each request, in one place: its log line and its metrics, when the last byte
//! was handed over or the client went away.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::Method;
use bytes::Bytes;
use pin_project_lite::pin_project;
use prometheus::{Histogram, IntCounter};
use tracing::Span;

use crate::metrics;

/// Answers slower than this break `latency_p95`, in seconds.
const P95_SECONDS: f64 = 0.05;
/// Answers slower than this break `latency_p99`, in seconds.
const P99_SECONDS: f64 = 0.1;

/// One request, told of when it is dropped.
pub(super) struct Record {
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    /// The route's pattern, or `unmatched`.
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) code: Option<&'static str>,
    pub(super) started: Instant,
    pub(super) bytes: u64,
    pub(super) span: Span,
}

pin_project! {
    /// A response body that keeps the record until it is sent.
    pub(super) struct Recorded<B> {
        #[pin]
        body: B,
        record: Record,
    }
}

impl<B: MessageBody> Recorded<B> {
    pub(super) fn new(body: B, record: Record) -> Recorded<B> {
        Recorded { body, record }
    }
}

impl<B: MessageBody> MessageBody for Recorded<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_next(context);
        // The body of an answer to HEAD is made, for its length, and not sent.
        if let Poll::Ready(Some(Ok(chunk))) = &polled
            && this.record.method != "HEAD"
        {
            this.record.bytes += chunk.len() as u64;
        }
        polled
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        HANDLES.with_borrow_mut(|handles| handles.count(self, seconds));
        if let Some(code) = self.code {
            metrics::API_ERRORS
                .with_label_values(&[self.method, &self.path, code])
                .inc();
        }
        if seconds > P95_SECONDS {
            metrics::SLO_VIOLATIONS
                .with_label_values(&["latency_p95"])
                .inc();
        }
        if seconds > P99_SECONDS {
            metrics::SLO_VIOLATIONS
                .with_label_values(&["latency_p99"])
                .inc();
        }
        self.finish_span();
        tracing::info!(
            target: "http",
            parent: &self.span,
            method = self.method,
            path = self.path,
            status = self.status,
            duration_ms = (seconds * 1e6).round() / 1e3,
            bytes = self.bytes,
            code = self.code,
            "request"
        );
    }
}

impl Record {
    fn finish_span(&self) {
        if !crate::telemetry::is_exporting() {
            return;
        }
        let Record {
            method,
            path,
            status,
            ..
        } = self;
        crate::telemetry::rename(&self.span, format!("{method} {path}"));
        self.span.record("http.route", path.as_str());
        self.span.record("http.response.status_code", status);
        if *status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

thread_local! {
    static HANDLES: RefCell<Handles> = RefCell::default();
}

/// Metric handles of this thread's routes: looking one up by four labels takes the registry's
/// lock and longer than the whole rest of the record.
#[derive(Default)]
struct Handles {
    routes: HashMap<String, Vec<Handle>>,
}

struct Handle {
    service: &'static str,
    method: &'static str,
    status: u16,
    requests: IntCounter,
    seconds: Histogram,
}

impl Handles {
    fn count(&mut self, record: &Record, seconds: f64) {
        if !self.routes.contains_key(&record.path) {
            self.routes.insert(record.path.clone(), Vec::new());
        }
        let Some(handles) = self.routes.get_mut(&record.path) else {
            return;
        };
        let found = handles.iter().position(|handle| handle.is_of(record));
        let at = found.unwrap_or_else(|| {
            handles.push(Handle::of(record));
            handles.len() - 1
        });
        handles[at].requests.inc();
        handles[at].seconds.observe(seconds);
    }
}

impl Handle {
    fn of(record: &Record) -> Handle {
        let Record {
            service,
            method,
            path,
            status,
            ..
        } = record;
        let labels = [*service, *method, path.as_str()];
        Handle {
            service,
            method,
            status: *status,
            requests: metrics::HTTP_REQUESTS.with_label_values(&[
                *service,
                *method,
                path.as_str(),
                &status.to_string(),
            ]),
            seconds: metrics::HTTP_SECONDS.with_label_values(&labels),
        }
    }

    fn is_of(&self, record: &Record) -> bool {
        self.status == record.status
            && self.method == record.method
            && self.service == record.service
    }
}

/// The method as a label; anybody can invent methods.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
