//! The codes of errors that every API has; an API's own codes are a table of its own.

use actix_web::http::StatusCode;

use super::problem::ProblemCode;

/// Errors of the HTTP layer itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each means")]
pub enum HttpCode {
    BadRequest,
    InvalidHeader,
    InvalidJson,
    WrongType,
    InvalidFields,
    InvalidParameter,
    TokenMissing,
    TokenInvalid,
    Forbidden,
    RouteUnknown,
    MethodNotAllowed,
    NotAcceptable,
    BodyTooLarge,
    BodyTooSlow,
    UnsupportedMediaType,
    RateLimited,
    Internal,
    DeadlineExceeded,
    KeysUnavailable,
    Unavailable,
}

impl HttpCode {
    /// Every code, for documents and tests.
    pub const ALL: [HttpCode; 20] = [
        HttpCode::BadRequest,
        HttpCode::InvalidHeader,
        HttpCode::InvalidJson,
        HttpCode::WrongType,
        HttpCode::InvalidFields,
        HttpCode::InvalidParameter,
        HttpCode::TokenMissing,
        HttpCode::TokenInvalid,
        HttpCode::Forbidden,
        HttpCode::RouteUnknown,
        HttpCode::MethodNotAllowed,
        HttpCode::NotAcceptable,
        HttpCode::BodyTooLarge,
        HttpCode::BodyTooSlow,
        HttpCode::UnsupportedMediaType,
        HttpCode::RateLimited,
        HttpCode::Internal,
        HttpCode::DeadlineExceeded,
        HttpCode::KeysUnavailable,
        HttpCode::Unavailable,
    ];

    #[expect(clippy::too_many_lines, reason = "a table: one row a code")]
    fn row(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            HttpCode::BadRequest => (
                400,
                "bad_request",
                "The request is not understood.",
                "send a request as /openapi.json describes it",
            ),
            HttpCode::InvalidHeader => (
                400,
                "invalid_header",
                "A header is not understood.",
                "`errors` names each header and says what is allowed",
            ),
            HttpCode::InvalidJson => (
                400,
                "invalid_json",
                "The body is not valid JSON.",
                "send one JSON object in UTF-8",
            ),
            HttpCode::WrongType => (
                400,
                "wrong_type",
                "A field is of the wrong type.",
                "`errors` names each field and the type that it must have",
            ),
            HttpCode::InvalidFields => (
                422,
                "invalid_fields",
                "A field breaks a rule.",
                "`errors` names each field and says what is allowed",
            ),
            HttpCode::InvalidParameter => (
                422,
                "invalid_parameter",
                "A parameter of the URL is not allowed.",
                "`errors` names each parameter and says what is allowed",
            ),
            HttpCode::TokenMissing => (
                401,
                "token_missing",
                "A bearer token is required.",
                "send the header `Authorization: Bearer` with a token",
            ),
            HttpCode::TokenInvalid => (
                401,
                "token_invalid",
                "The token is not accepted.",
                "get a new token and send it as `Authorization: Bearer`",
            ),
            HttpCode::Forbidden => (
                403,
                "forbidden",
                "The token does not allow this.",
                "ask with a token whose role may do this",
            ),
            HttpCode::RouteUnknown => (
                404,
                "route_unknown",
                "There is no such route.",
                "/openapi.json lists the routes",
            ),
            HttpCode::MethodNotAllowed => (
                405,
                "method_not_allowed",
                "The route does not know this method.",
                "/openapi.json lists the methods of each route",
            ),
            HttpCode::NotAcceptable => (
                406,
                "not_acceptable",
                "No representation that the client accepts exists.",
                "accept application/json and no unknown encoding",
            ),
            HttpCode::BodyTooLarge => (
                413,
                "body_too_large",
                "The body is too large.",
                "send less; /v1/limits says how much is allowed",
            ),
            HttpCode::BodyTooSlow => (
                503,
                "body_too_slow",
                "The body arrived too slowly.",
                "send the request again, faster",
            ),
            HttpCode::UnsupportedMediaType => (
                415,
                "unsupported_media_type",
                "The body's media type is not supported.",
                "send application/json",
            ),
            HttpCode::RateLimited => (
                429,
                "rate_limited",
                "Too many requests.",
                "wait as long as Retry-After says, then ask again",
            ),
            HttpCode::Internal => (
                500,
                "internal",
                "Something went wrong on our side.",
                "try again later; if it stays, report the request_id",
            ),
            HttpCode::DeadlineExceeded => (
                503,
                "deadline_exceeded",
                "The answer was not ready in time.",
                "ask again",
            ),
            HttpCode::KeysUnavailable => (
                503,
                "keys_unavailable",
                "Tokens cannot be verified at the moment.",
                "ask again; the keys that tokens are verified with cannot be had",
            ),
            HttpCode::Unavailable => (
                503,
                "unavailable",
                "The service is not available.",
                "nothing was done; send the request again",
            ),
        }
    }
}

impl ProblemCode for HttpCode {
    fn code(&self) -> &'static str {
        self.row().1
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table holds HTTP statuses")
    }

    fn title(&self) -> &'static str {
        self.row().2
    }

    fn advice(&self) -> &'static str {
        self.row().3
    }
}
