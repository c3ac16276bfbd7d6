//! HTTP/1.1 with keep-alive over a bounded number of connections. A request waits in line for one
//! of them, as it would in a client's pool; the caller's clock runs meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use crate::recorder::TIMEOUT;

/// The largest answer that is taken in, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Where commands are accepted.
    Command,
    /// Where queries are answered.
    Query,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// To which API.
    pub api: Api,
    /// How.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The bearer token.
    pub credential: Arc<str>,
    /// JSON, when there is a body.
    pub body: Option<String>,
    /// `Consistency-Token`.
    pub token: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

impl Request {
    /// A read.
    #[must_use]
    pub fn get(path: String, credential: &Arc<str>) -> Self {
        Self::of(Api::Query, Method::GET, path, credential)
    }

    /// A command with a JSON body.
    #[must_use]
    pub fn command(method: Method, path: String, credential: &Arc<str>, body: String) -> Self {
        let mut request = Self::of(Api::Command, method, path, credential);
        request.body = Some(body);
        request
    }

    fn of(api: Api, method: Method, path: String, credential: &Arc<str>) -> Self {
        Self {
            api,
            method,
            path,
            credential: Arc::clone(credential),
            body: None,
            token: None,
            if_none_match: None,
            idempotency_key: None,
        }
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Consistency-Token`.
    pub token: Option<String>,
    /// `X-Request-Id`, by which the server's log knows the request.
    pub request_id: Option<String>,
    /// The whole body.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No connection could be opened.
    #[error("no connection")]
    Connect(#[source] legacy::Error),
    /// The connection broke before the answer was complete.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer was not complete in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer was larger than any that is expected.
    #[error("an answer of more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// A header or path cannot be sent.
    #[error("not a request")]
    NotARequest(#[source] hyper::http::Error),
}

impl NoAnswer {
    /// The word for the table of statuses.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::Timeout => TIMEOUT,
            Self::TooLarge => "too_large",
            Self::NotARequest(_) => "not_sent",
        }
    }
}

/// A request's fate, and when what happened.
#[derive(Debug)]
pub struct Exchange {
    /// What came back, or why nothing.
    pub answer: Result<Answer, NoAnswer>,
    /// Whether all connections were busy when it wanted one.
    pub waited: bool,
    /// When the last byte was there.
    pub done: Instant,
}

/// Where the APIs are.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Base address of the commands, without a slash at its end.
    pub command: String,
    /// Base address of the queries.
    pub query: String,
}

/// Sends requests.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    targets: Arc<Targets>,
    connections: Arc<Semaphore>,
    timeout: Duration,
}

impl Client {
    /// A client with so many connections that gives an answer so much time.
    #[must_use]
    pub fn new(targets: Targets, connections: usize, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(timeout));
        // A machine without roots of its own still loads by http, and knows the public ones.
        let roots = HttpsConnectorBuilder::new().with_native_roots();
        let connector = roots
            .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(connections)
            .build(connector);
        Self {
            http,
            targets: Arc::new(targets),
            connections: Arc::new(Semaphore::new(connections)),
            timeout,
        }
    }

    /// Sends a request when a connection is free. The time limit begins with the sending.
    pub async fn send(&self, request: &Request) -> Exchange {
        let (permit, waited) = match self.connections.try_acquire() {
            Ok(permit) => (Some(permit), false),
            // A semaphore that nobody closes.
            Err(_) => (self.connections.acquire().await.ok(), true),
        };
        let answer = self.send_beside(request).await;
        let done = Instant::now();
        drop(permit);
        Exchange {
            answer,
            waited,
            done,
        }
    }

    /// Sends a request without waiting in line: for the few that look on.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn send_beside(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let exchange = self.exchange(request);
        let within = tokio::time::timeout(self.timeout, exchange).await;
        within.unwrap_or(Err(NoAnswer::Timeout))
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let message = self.message(request).map_err(NoAnswer::NotARequest)?;
        let sent = self.http.request(message).await;
        let response = sent.map_err(|error| {
            if error.is_connect() {
                NoAnswer::Connect(error)
            } else {
                NoAnswer::Broken(error.into())
            }
        })?;
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| NoAnswer::Broken(error.into()))?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > ANSWER_BYTES_MAX {
                    return Err(NoAnswer::TooLarge);
                }
                bytes.extend_from_slice(data);
            }
        }
        Ok(Answer {
            status: head.status.as_u16(),
            etag: text(&head.headers, &ETAG),
            token: text(&head.headers, &CONSISTENCY_TOKEN),
            request_id: text(&head.headers, &REQUEST_ID),
            body: bytes.freeze(),
        })
    }

    /// The base address of an API.
    #[must_use]
    pub fn base(&self, api: Api) -> &str {
        match api {
            Api::Command => &self.targets.command,
            Api::Query => &self.targets.query,
        }
    }

    fn message(
        &self,
        request: &Request,
    ) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let base = self.base(request.api);
        let uri: Uri = format!("{base}{}", request.path).parse()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", request.credential))?;
        let mut message = hyper::Request::builder()
            .method(&request.method)
            .uri(uri)
            .header(AUTHORIZATION, bearer);
        let optional = [
            (CONSISTENCY_TOKEN, &request.token),
            (hyper::header::IF_NONE_MATCH, &request.if_none_match),
            (IDEMPOTENCY_KEY, &request.idempotency_key),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                message = message.header(name, value);
            }
        }
        let body = request.body.clone().map(Bytes::from);
        if body.is_some() {
            let json = match request.method {
                Method::PATCH => "application/merge-patch+json",
                _ => "application/json",
            };
            message = message.header(CONTENT_TYPE, json);
        }
        message.body(Full::new(body.unwrap_or_default()))
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
