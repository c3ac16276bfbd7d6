//! Entity tags of compressed answers. A strong ETag names bytes, and compressed bytes are others
//! (RFC 9110, 8.8.3), so the tag of a coded answer carries its coding: `"v7.3"` becomes
//! `"v7.3-gzip"`. Conditions are put into the handlers' terms, so that none of them knows of it.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};

/// The codings that our answers may have, as a tag ends with them.
const CODINGS: [(&str, &str); 3] = [
    ("gzip", "-gzip\""),
    ("deflate", "-deflate\""),
    ("zstd", "-zstd\""),
];

/// The conditions of a request, as they were before [`Asked::read`] took the codings out of them.
pub(super) struct Asked {
    if_none_match: Option<String>,
}

impl Asked {
    /// Puts a request's conditions into the handlers' terms.
    pub(super) fn read(headers: &mut HeaderMap) -> Asked {
        strip(headers, &IF_MATCH);
        Asked {
            if_none_match: strip(headers, &IF_NONE_MATCH),
        }
    }

    /// Gives an answer, compressed by now, the tag of the bytes that it has or, with 304, of those
    /// that the client has.
    pub(super) fn tag(self, status: StatusCode, headers: &mut HeaderMap) {
        let known = || {
            let asked = self.if_none_match?;
            known(&asked, tag(headers)?)
        };
        let tag = match status {
            StatusCode::NOT_MODIFIED => known(),
            _ => coded(headers),
        };
        if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
            headers.insert(ETAG, tag);
        }
    }
}

/// Takes the codings out of a condition's tags; what it said before, if it named any.
fn strip(headers: &mut HeaderMap, name: &HeaderName) -> Option<String> {
    if !headers.contains_key(name) {
        return None;
    }
    let lines: Option<Vec<&str>> = headers
        .get_all(name)
        .map(|line| line.to_str().ok())
        .collect();
    let asked = lines?.join(", ");
    let plain = CODINGS
        .iter()
        .fold(asked.clone(), |text, (_, end)| text.replace(end, "\""));
    if plain == asked {
        return None;
    }
    headers.insert(name.clone(), HeaderValue::from_str(&plain).ok()?);
    Some(asked)
}

/// The strong tag of an answer.
fn tag(headers: &HeaderMap) -> Option<&str> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    (tag.starts_with('"') && tag.ends_with('"')).then_some(tag)
}

/// The tag with the answer's coding.
fn coded(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get(CONTENT_ENCODING)?.as_bytes();
    let (_, end) = CODINGS.iter().find(|(name, _)| name.as_bytes() == coding)?;
    Some(with_end(tag(headers)?, end))
}

/// The tag as the client named it, when it named only a coded one.
fn known(asked: &str, tag: &str) -> Option<String> {
    let is_named = |tag: &str| asked.split(',').any(|named| named.trim() == tag);
    let mut coded = CODINGS.iter().map(|(_, end)| with_end(tag, end));
    if is_named(tag) {
        None
    } else {
        coded.find(|tag| is_named(tag))
    }
}

fn with_end(tag: &str, end: &str) -> String {
    format!("{}{end}", tag.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use actix_web::dev::{ServiceRequest, ServiceResponse};
    use actix_web::http::header::ACCEPT_ENCODING;
    use actix_web::middleware::{Compress, Next, from_fn};
    use actix_web::{App, Error, HttpRequest, HttpResponse, test, web};

    use super::*;
    use crate::http::if_none_match;

    const PLAIN: &str = "\"v7.3\"";

    async fn page(request: HttpRequest) -> HttpResponse {
        if if_none_match(request.headers(), PLAIN) {
            return HttpResponse::NotModified()
                .insert_header((ETAG, PLAIN))
                .finish();
        }
        let condition = request.headers().get(IF_MATCH).cloned();
        let mut answer = HttpResponse::Ok();
        answer.insert_header((ETAG, PLAIN));
        if let Some(condition) = condition {
            answer.insert_header(("seen", condition));
        }
        answer.body("text ".repeat(1_000))
    }

    /// Stands where the gate stands: outside of what compresses.
    async fn tag_codings(
        mut request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, Error> {
        let asked = Asked::read(request.headers_mut());
        let mut response = next.call(request).await?;
        asked.tag(response.status(), response.headers_mut());
        Ok(response)
    }

    async fn ask(headers: &[(HeaderName, &str)]) -> (u16, String, Option<String>) {
        let app = App::new()
            .wrap(Compress::default())
            .wrap(from_fn(tag_codings))
            .route("/", web::get().to(page));
        let app = test::init_service(app).await;
        let mut request = test::TestRequest::get().uri("/");
        for header in headers {
            request = request.append_header(header.clone());
        }
        let answer = test::call_service(&app, request.to_request()).await;
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        (
            answer.status().as_u16(),
            header("etag").unwrap(),
            header("seen"),
        )
    }

    #[actix_web::test]
    async fn other_bytes_have_another_tag() {
        for coding in ["gzip", "deflate", "zstd"] {
            let (status, tag, _) = ask(&[(ACCEPT_ENCODING, coding)]).await;
            assert_eq!((status, tag), (200, format!("\"v7.3-{coding}\"")));
        }
        assert_eq!(ask(&[]).await.1, PLAIN);
    }

    #[actix_web::test]
    async fn conditions_hold_whatever_the_coding_and_304_names_what_the_client_has() {
        let gzip = "\"v7.3-gzip\"";
        let asked = ask(&[(IF_NONE_MATCH, gzip), (ACCEPT_ENCODING, "gzip")]).await;
        assert_eq!(asked, (304, gzip.to_owned(), None));
        let asked = ask(&[
            (IF_NONE_MATCH, "\"a\""),
            (IF_NONE_MATCH, "\"b\", \"v7.3-zstd\""),
        ])
        .await;
        assert_eq!(asked, (304, "\"v7.3-zstd\"".to_owned(), None));
        let asked = ask(&[(IF_NONE_MATCH, "\"v7.3-gzip\", \"v7.3\"")]).await;
        assert_eq!(asked, (304, PLAIN.to_owned(), None));
        assert_eq!(ask(&[(IF_NONE_MATCH, "\"v6.3-gzip\"")]).await.0, 200);
        let (_, _, seen) = ask(&[(IF_MATCH, gzip)]).await;
        assert_eq!(seen.as_deref(), Some(PLAIN));
    }
}
