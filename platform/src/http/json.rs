//! The extractor of JSON bodies.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};
use bytes::Bytes;
use serde_json::Value;

use super::{BodyLimits, Fields, HttpCode, Problem, parse_json, read_body};

/// A request body that is read field by field.
///
/// ```text
/// impl StrictBody for ChangeEmailBody {
///     fn take(fields: &mut Fields) -> Option<Self> {
///         let email = fields.required_as("email", |text: String| Email::parse(&text));
///         let reason = fields.optional("reason");      // first all fields,
///         Some(ChangeEmailBody { email: email?, reason })   // then the `?`
///     }
/// }
/// ```
pub trait StrictBody: Sized {
    /// Takes the fields. Take all of them before giving up on one, or the client learns of its
    /// mistakes one at a time. None only after a field was refused.
    fn take(fields: &mut Fields) -> Option<Self>;

    /// Reads a parsed body.
    ///
    /// # Errors
    /// With every field that is wrong, missing or unknown.
    fn from_value(value: Value) -> Result<Self, Problem> {
        Fields::read(value, Self::take)
    }
}

/// A JSON body within the route's [`BodyLimits`] (from `app_data`, the server's otherwise).
#[derive(Debug, Clone)]
pub struct StrictJson<T> {
    /// What the body says.
    pub value: T,
    /// The body as it was sent, for hashing.
    pub raw: Bytes,
}

impl<T: StrictBody + 'static> FromRequest for StrictJson<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<StrictJson<T>, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let media_type = check_media_type(request);
        let limits = BodyLimits::of(request);
        let payload = payload.take();
        Box::pin(async move {
            media_type?;
            let raw = read_body(payload, &limits).await?;
            let value = T::from_value(parse_json(&raw)?)?;
            Ok(StrictJson { value, raw })
        })
    }
}

fn check_media_type(request: &HttpRequest) -> Result<(), Problem> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" | "application/merge-patch+json" => Ok(()),
        _ => Err(Problem::new(HttpCode::UnsupportedMediaType).field(
            "Content-Type",
            "must be application/json or application/merge-patch+json",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Patch;

    #[derive(Debug, PartialEq)]
    struct Body {
        name: String,
        age: u64,
        bio: Patch<String>,
    }

    impl StrictBody for Body {
        fn take(fields: &mut Fields) -> Option<Body> {
            let name = fields.required_as("name", |text: String| {
                if text.len() <= 3 {
                    Ok(text)
                } else {
                    Err("must have 1 to 3 characters")
                }
            });
            let age = fields.required("age");
            let bio = fields.patch("bio");
            Some(Body {
                name: name?,
                age: age?,
                bio,
            })
        }
    }

    fn read(text: &str) -> Result<Body, Problem> {
        Body::from_value(parse_json(text.as_bytes()).unwrap())
    }

    #[track_caller]
    fn check(text: &str, status: u16, expected: &[(&str, &str)]) {
        let problem = read(text).unwrap_err();
        let found: Vec<_> = problem
            .errors()
            .iter()
            .map(|e| (e.pointer.as_str(), e.detail.as_str()))
            .collect();
        assert_eq!(
            (problem.status().as_u16(), found.as_slice()),
            (status, expected)
        );
    }

    #[test]
    fn a_good_body_is_read_and_a_patch_tells_null_from_absent() {
        let body = |bio| Body {
            name: "Ada".to_owned(),
            age: 36,
            bio,
        };
        assert_eq!(
            read(r#"{"name":"Ada","age":36}"#).unwrap(),
            body(Patch::Absent)
        );
        assert_eq!(
            read(r#"{"name":"Ada","age":36,"bio":null}"#).unwrap(),
            body(Patch::Null)
        );
        let value = Patch::Value("x".to_owned());
        assert_eq!(
            read(r#"{"name":"Ada","age":36,"bio":"x"}"#).unwrap(),
            body(value)
        );
    }

    #[test]
    fn every_broken_rule_and_every_unknown_field_is_reported_at_once() {
        check(
            r#"{"name":"Adam","bio":"a\u0000b","nick/name":1}"#,
            422,
            &[
                ("/name", "must have 1 to 3 characters"),
                ("/age", "is required"),
                ("/bio", "must not contain the character NUL (\\u0000)"),
                ("/nick~1name", "is not a field of this request"),
            ],
        );
        check(
            r#"{"name":"Ada","age":-1}"#,
            422,
            &[("/age", "must not be negative")],
        );
    }

    #[test]
    fn a_wrong_type_is_400_and_the_broken_rules_stand_beside_it() {
        check(
            r#"{"name":7,"age":"36","extra":{}}"#,
            400,
            &[
                ("/name", "must be a string"),
                ("/age", "must be a whole number, 0 or more"),
                ("/extra", "is not a field of this request"),
            ],
        );
        check(
            r#"{"name":null,"age":1}"#,
            400,
            &[("/name", "must be a string")],
        );
        check("[]", 400, &[("", "must be an object")]);
    }
}
