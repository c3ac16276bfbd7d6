//! Answers: bytes that were made before, an ETag, and what the answer is true as of.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, VARY,
};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use platform::http::if_none_match;

use crate::reader::Stale;

const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");
const RUNNEL_STALE: HeaderName = HeaderName::from_static("runnel-stale");

/// What a read is answered with.
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) etag: HeaderValue,
    pub(crate) as_of: HeaderValue,
    pub(crate) stale: Option<Stale>,
}

impl Answer {
    /// The answer; 304 when the client has these bytes already. A client that keeps an answer must
    /// ask before it shows it again: how old it may be is ours to say. What is shown depends on the
    /// role, of which an ETag knows nothing, so nothing kept for one token answers for another.
    pub(crate) fn send(self, request: &HttpRequest) -> HttpResponse {
        let known = request.headers().contains_key(IF_NONE_MATCH)
            && self
                .etag
                .to_str()
                .is_ok_and(|etag| if_none_match(request.headers(), etag));
        let status = if known {
            StatusCode::NOT_MODIFIED
        } else {
            StatusCode::OK
        };
        let mut response = HttpResponse::new(status);
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag);
        headers.insert(CONSISTENCY_TOKEN, self.as_of);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.append(VARY, HeaderValue::from_static("authorization"));
        if let Some(stale) = self.stale {
            headers.insert(RUNNEL_STALE, HeaderValue::from_static(stale.as_str()));
        }
        if known {
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.set_body(actix_web::body::BoxBody::new(self.body))
    }
}

/// The token of an answer that is none: an error, or the news that there is nothing.
pub(crate) fn marks(as_of: HeaderValue, stale: Option<Stale>) -> Vec<(HeaderName, HeaderValue)> {
    let stale = stale.map(|stale| (RUNNEL_STALE, HeaderValue::from_static(stale.as_str())));
    [(CONSISTENCY_TOKEN, as_of)]
        .into_iter()
        .chain(stale)
        .collect()
}
