//! Errors as clients see them: RFC 9457 `application/problem+json`, for everything that fails.
//!
//! What a problem says is written by us, for the client; the cause goes to the log, once.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a code means; each API lists its own in one exhaustive enum.
pub trait ProblemCode {
    /// The stable name that clients match on, such as `id_taken`.
    fn code(&self) -> &'static str;
    /// The HTTP status.
    fn status(&self) -> StatusCode;
    /// A short sentence that is the same for every occurrence.
    fn title(&self) -> &'static str;
    /// What the client can do about it: the `detail` of a problem that says nothing more exact.
    fn advice(&self) -> &'static str;
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// JSON pointer to the field in the body, `/email`, or the name of a header or parameter.
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// An error answer. The middleware adds the request id.
#[derive(Debug, Clone)]
pub struct Problem {
    // Boxed, so that a `Result` with a problem stays small.
    facts: Box<Facts>,
}

#[derive(Debug, Clone)]
struct Facts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldProblem>,
    headers: Vec<(HeaderName, HeaderValue)>,
    request_id: Option<Box<str>>,
    close: bool,
}

/// The body of an error answer, as `/openapi.json` shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody<'a> {
    /// A URN that ends in the code.
    #[schema(example = "urn:runnel:problem:id_taken")]
    r#type: String,
    /// A short sentence that is the same for every occurrence.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened this time, or what to do about it.
    detail: &'a str,
    /// The stable name to match on.
    code: &'a str,
    /// The id of the request, as in the header `X-Request-Id` and in our log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
}

impl Problem {
    /// A problem of a code.
    pub fn new(code: impl ProblemCode) -> Problem {
        let facts = Facts {
            status: code.status(),
            code: code.code(),
            title: code.title(),
            detail: Cow::Borrowed(code.advice()),
            errors: Vec::new(),
            headers: Vec::new(),
            request_id: None,
            close: false,
        };
        Problem {
            facts: Box::new(facts),
        }
    }

    /// A problem whose cause is ours: the cause and what caused it go to the log, here and only
    /// here; the client gets the code.
    pub fn caused_by(code: impl ProblemCode, cause: &dyn std::error::Error) -> Problem {
        let problem = Problem::new(code);
        let error = crate::telemetry::chain(cause);
        tracing::error!(code = problem.facts.code, %error, "request failed");
        problem
    }

    /// Says what happened this time, instead of the code's advice. Never text of an inner error.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Problem {
        self.facts.detail = detail.into();
        self
    }

    /// Adds a field that is wrong.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
        self.facts.errors.push(FieldProblem {
            pointer: pointer.into(),
            detail: detail.into(),
        });
        self
    }

    /// Adds fields that are wrong.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = FieldProblem>) -> Problem {
        self.facts.errors.extend(fields);
        self
    }

    /// Sets `Retry-After`, in whole seconds rounded up, at least 1.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Problem {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Sets a header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.facts.headers.push((name, value));
        self
    }

    /// Closes the connection after the answer, because the rest of the request was not read.
    #[must_use]
    pub fn close_connection(mut self) -> Problem {
        self.facts.close = true;
        self
    }

    /// Names the request, for an answer that does not pass the middleware.
    #[must_use]
    pub(crate) fn of_request(mut self, request_id: &str) -> Problem {
        self.facts.request_id = Some(request_id.into());
        self
    }

    /// The stable name of the code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.facts.code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.facts.status
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn errors(&self) -> &[FieldProblem] {
        &self.facts.errors
    }

    /// The body as JSON.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>) -> String {
        let body = ProblemBody {
            r#type: format!("urn:runnel:problem:{}", self.facts.code),
            title: self.facts.title,
            status: self.facts.status.as_u16(),
            detail: &self.facts.detail,
            code: self.facts.code,
            request_id,
            errors: &self.facts.errors,
        };
        serde_json::to_string(&body).expect("a problem holds only text and numbers")
    }

    /// The whole answer. No cache keeps it.
    #[must_use]
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponse::build(self.facts.status);
        for (name, value) in &self.facts.headers {
            response.append_header((name.clone(), value.clone()));
        }
        if self.facts.close {
            response.force_close();
        }
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response
            .content_type(PROBLEM_JSON)
            .body(self.body(request_id))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.facts.status.as_u16(), self.facts.code)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.facts.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response(self.facts.request_id.as_deref())
    }
}
