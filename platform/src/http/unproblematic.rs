//! Turns answers that actix-web made by itself (unknown routes, wrong methods, bad path or query
//! parameters) into problems like any other.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{Error, HttpResponse};

use super::{HttpCode, PROBLEM_JSON, Problem};

/// Below it the page's files are, of which some may be missing.
const DOCS: &str = "/docs";

/// The problem that a failed answer should be; none for one that is fine as it is. `pattern` is
/// the route's, when the path has one.
pub(super) fn problem_of<B>(response: &HttpResponse<B>, pattern: Option<&str>) -> Option<Problem> {
    if let Some(problem) = response.error().and_then(Error::as_error::<Problem>) {
        return Some(problem.clone());
    }
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if !failed || is_problem(response.headers()) {
        return None;
    }
    // actix answers 404 when a route knows the path, but not with this method.
    let known_path = pattern.is_some_and(|pattern| !pattern.starts_with(DOCS));
    if status == StatusCode::NOT_FOUND && response.error().is_none() && known_path {
        return Some(Problem::new(HttpCode::MethodNotAllowed));
    }
    Some(problem_for(status, response.error()))
}

/// The problem for an error that no response was made of.
pub(super) fn problem_of_error(error: &Error) -> Problem {
    match error.as_error::<Problem>() {
        Some(problem) => problem.clone(),
        None => problem_for(error.as_response_error().status_code(), Some(error)),
    }
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value == PROBLEM_JSON)
}

fn problem_for(status: StatusCode, error: Option<&Error>) -> Problem {
    // actix answers 404 when a path parameter does not parse, which is what we want to say, too:
    // no such thing can be there. A query that does not parse is the client's mistake.
    let is_query = error.is_some_and(|error| {
        error
            .as_error::<actix_web::error::QueryPayloadError>()
            .is_some()
    });
    let code = match status.as_u16() {
        400 if is_query => HttpCode::InvalidParameter,
        401 => HttpCode::TokenMissing,
        403 => HttpCode::Forbidden,
        404 => HttpCode::RouteUnknown,
        405 => HttpCode::MethodNotAllowed,
        406 => HttpCode::NotAcceptable,
        413 => HttpCode::BodyTooLarge,
        415 => HttpCode::UnsupportedMediaType,
        429 => HttpCode::RateLimited,
        503 => HttpCode::Unavailable,
        400..=499 => HttpCode::BadRequest,
        _ => HttpCode::Internal,
    };
    if let (true, Some(error)) = (status.is_server_error(), error) {
        return Problem::caused_by(code, &Opaque(error.to_string()));
    }
    let problem = Problem::new(code);
    if is_query {
        problem.detail("the query string is not what this route takes")
    } else {
        problem
    }
}

/// actix-web's errors are not `std` errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Opaque(String);
