//! The middleware that every request passes once: id, trace, token, limits, panic, problem,
//! headers, log and metrics.
//!
//! One layer instead of seven: each layer of actix-web boxes a future, and a cached read's whole
//! budget is a few microseconds.

use std::cell::OnceCell;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ResourceMap, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, ORIGIN,
};
use actix_web::http::{ConnectionType, Method};
use actix_web::{Error, HttpMessage as _, HttpResponse};
use futures_util::FutureExt as _;
use tracing::{Instrument as _, Span};

use super::coding::Asked;
use super::context::{RequestContext, request_id, trace_parent};
use super::rate_limit::Allowance;
use super::recent::{Principal, Recent};
use super::record::{Record, Recorded, method_label};
use super::stack::{HttpStack, Shared};
use super::unproblematic::{problem_of, problem_of_error};
use super::{HttpCode, PROBLEM_JSON, Problem, client_address, server};
use crate::auth::Authentication;
use crate::telemetry;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The `path` of a request that no route takes.
const UNMATCHED: &str = "unmatched";

/// Builds a [`GateService`] per worker.
pub(super) struct Gate(pub(super) HttpStack);

pub(super) struct GateService<S> {
    inner: Rc<S>,
    shared: Arc<Shared>,
    worker: Rc<Worker>,
}

/// What a worker thread has for itself.
#[derive(Default)]
struct Worker {
    /// Its routes, to name the pattern when a panic took the request along.
    routes: OnceCell<ResourceMap>,
    recent: Recent,
}

type Body<B> = Recorded<EitherBody<B>>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

impl<S, B> Transform<S, ServiceRequest> for Gate
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<Body<B>>;
    type Error = Error;
    type Transform = GateService<S>;
    type InitError = ();
    type Future = Ready<Result<GateService<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let shared = Arc::clone(&self.0.shared);
        ready(Ok(GateService {
            inner: Rc::new(inner),
            shared,
            worker: Rc::default(),
        }))
    }
}

impl<S, B> Service<ServiceRequest> for GateService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<Body<B>>;
    type Error = Error;
    type Future = BoxFuture<Result<Self::Response, Error>>;

    actix_web::dev::forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let passage = Passage::begin(&request, &self.shared, &self.worker);
        let span = passage.span.clone();
        Box::pin(
            passage
                .run(Rc::clone(&self.inner), request)
                .instrument(span),
        )
    }
}

/// One request on its way.
struct Passage {
    started: Instant,
    shared: Arc<Shared>,
    worker: Rc<Worker>,
    method: &'static str,
    uri: actix_web::http::Uri,
    context: RequestContext,
    span: Span,
    /// What is left of the principal's limit.
    remaining: Option<u32>,
}

impl Passage {
    fn begin(request: &ServiceRequest, shared: &Arc<Shared>, worker: &Rc<Worker>) -> Passage {
        worker.routes.get_or_init(|| request.resource_map().clone());
        let request_id = request_id(request.headers());
        let parent = trace_parent(request.headers());
        let method = method_label(request.method());
        let span = request_span(&request_id, method);
        let mut traceparent = parent.map(|(text, _)| Arc::from(text));
        let mut trace_id = parent.map(|(_, id)| id.to_owned());
        if telemetry::is_exporting() {
            if let Some((text, _)) = parent {
                telemetry::set_parent(&span, text);
            }
            traceparent = telemetry::traceparent_of(&span).map(Arc::from);
            trace_id = traceparent
                .as_deref()
                .and_then(|text: &str| text.get(3..35))
                .map(str::to_owned);
        }
        if let Some(trace_id) = trace_id {
            span.record("trace_id", trace_id);
        }
        Passage {
            started: Instant::now(),
            shared: Arc::clone(shared),
            worker: Rc::clone(worker),
            method,
            uri: request.uri().clone(),
            context: RequestContext {
                request_id,
                traceparent,
            },
            span,
            remaining: None,
        }
    }

    async fn run<S, B>(
        mut self,
        inner: Rc<S>,
        mut request: ServiceRequest,
    ) -> Result<ServiceResponse<Body<B>>, Error>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let authentication = match self.identify(&request).await {
            Ok(authentication) => authentication,
            Err(problem) => return Ok(self.refuse(request, &problem)),
        };
        // HEAD is GET without the body (RFC 9110, 9.3.2), on every route; actix-web sends none.
        if request.method() == Method::HEAD {
            request.head_mut().method = Method::GET;
        }
        let asked = Asked::read(request.headers_mut());
        request.extensions_mut().insert(authentication);
        request.extensions_mut().insert(self.context.clone());
        // A panic leaves nothing of the handler behind that anybody would look at.
        let answered = AssertUnwindSafe(async { inner.call(request).await })
            .catch_unwind()
            .await;
        match answered {
            Ok(Ok(response)) => Ok(self.finish(response, asked)),
            Ok(Err(error)) => Err(self.fail(problem_of_error(&error))),
            // The hook has logged it already.
            Err(_panic) => Err(self.fail(Problem::new(HttpCode::Internal))),
        }
    }

    /// Finds out who sent the request, and counts it against its principal, or its address when
    /// its token is wrong.
    async fn identify(&mut self, request: &ServiceRequest) -> Result<Authentication, Problem> {
        let header = request.headers().get(AUTHORIZATION);
        let known = header.and_then(|header| self.worker.recent.get(header, self.started));
        if let Some(known) = known {
            self.count(&known)?;
            return Ok(Authentication::Verified(known.verified));
        }
        let shared = Arc::clone(&self.shared);
        let authentication = shared.verifier.authenticate(header).await;
        match (&authentication, header) {
            (Authentication::Verified(verified), Some(header)) => {
                let limits = shared.principals.as_ref();
                let principal = Principal {
                    verified: Arc::clone(verified),
                    bucket: limits.map(|limits| limits.bucket(verified.principal)),
                };
                self.worker.recent.put(header, &principal, self.started);
                self.count(&principal)?;
            }
            (Authentication::Failed(_), _) => {
                let limits = &shared.failed_tokens;
                if let Allowance::Wait(wait) = limits.count(self.address(request)) {
                    return Err(limits.refusal(wait));
                }
            }
            // A token that we cannot look at is not its sender's fault.
            _ => {}
        }
        Ok(authentication)
    }

    fn count(&mut self, principal: &Principal) -> Result<(), Problem> {
        let (Some(limits), Some(bucket)) = (&self.shared.principals, &principal.bucket) else {
            return Ok(());
        };
        match limits.take(bucket) {
            Allowance::Pass { remaining } => {
                self.remaining = Some(remaining);
                Ok(())
            }
            Allowance::Wait(wait) => Err(limits.refusal(wait)),
        }
    }

    fn address(&self, request: &ServiceRequest) -> IpAddr {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let peer = request.peer_addr().map_or(unknown, |peer| peer.ip());
        client_address(
            peer,
            request.headers(),
            &self.shared.settings.trusted_proxies,
        )
    }

    /// Answers before any route was asked.
    fn refuse<B: MessageBody + 'static>(
        self,
        request: ServiceRequest,
        problem: &Problem,
    ) -> ServiceResponse<Body<B>> {
        let path = self.pattern();
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = request.into_response(problem.response(Some(&self.context.request_id)));
        self.set_headers(response.headers_mut());
        let origins = &self.shared.settings.cors_origins;
        if let Some(origin) = origin {
            server::show_to_origin(&origin, origins, response.headers_mut());
        }
        let record = self.record(path, problem.status().as_u16(), Some(problem.code()));
        response.map_body(|_, body| Recorded::new(EitherBody::right(body), record))
    }

    /// Gives an error to actix-web, which makes the answer: the request is gone.
    fn fail(self, problem: Problem) -> Error {
        let record = self.record(
            self.pattern(),
            problem.status().as_u16(),
            Some(problem.code()),
        );
        drop(record);
        let id = HeaderValue::from_str(&self.context.request_id);
        let problem = problem.of_request(&self.context.request_id);
        match id {
            Ok(id) => problem.header(X_REQUEST_ID, id).into(),
            Err(_) => problem.into(),
        }
    }

    fn finish<B: MessageBody + 'static>(
        self,
        mut response: ServiceResponse<B>,
        asked: Asked,
    ) -> ServiceResponse<Body<B>> {
        asked.tag(response.status(), response.headers_mut());
        let pattern = response.request().match_pattern();
        let problem = problem_of(response.response(), pattern.as_deref());
        let path = pattern.unwrap_or_else(|| UNMATCHED.to_owned());
        self.set_headers(response.headers_mut());
        if problem.is_some() {
            as_problem(response.headers_mut());
        }
        if let Some(problem) = &problem {
            *response.response_mut().status_mut() = problem.status();
        }
        let status = response.status().as_u16();
        let record = self.record(path, status, problem.as_ref().map(Problem::code));
        if self.shared.readiness.is_draining() {
            close(response.response_mut());
        }
        let request_id = Arc::clone(&self.context.request_id);
        response.map_body(|_, body| match problem {
            None => Recorded::new(EitherBody::left(body), record),
            Some(problem) => {
                let body = BoxBody::new(problem.body(Some(&request_id)));
                Recorded::new(EitherBody::right(body), record)
            }
        })
    }

    fn set_headers(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.context.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        if let (Some(remaining), Some(limits)) = (self.remaining, &self.shared.principals) {
            limits.show(remaining, headers);
        }
    }

    /// The pattern of the request's route, for requests that never came back from it.
    fn pattern(&self) -> String {
        let pattern = self
            .worker
            .routes
            .get()
            .and_then(|routes| routes.match_pattern(self.uri.path()));
        pattern.unwrap_or_else(|| UNMATCHED.to_owned())
    }

    fn record(&self, path: String, status: u16, code: Option<&'static str>) -> Record {
        Record {
            service: self.shared.service,
            method: self.method,
            path,
            status,
            code,
            started: self.started,
            bytes: 0,
            span: self.span.clone(),
        }
    }
}

/// Who keeps connections open learns in time that this one ends, and sends nothing more on it: a
/// request that is under way when the server closes would be cut off.
fn close<B>(response: &mut HttpResponse<B>) {
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
}

/// A problem replaces the body that was there, whatever its type and encoding were.
fn as_problem(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn request_span(request_id: &str, method: &'static str) -> Span {
    use tracing::field::Empty;
    if !telemetry::is_exporting() {
        return tracing::info_span!("request", request_id, trace_id = Empty);
    }
    tracing::info_span!(
        "request",
        request_id,
        trace_id = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = Empty,
        http.response.status_code = Empty,
        url.scheme = "http",
    )
}
