//! What a command is answered with, first and repeated: the same status, body and token.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, HeaderName, HeaderValue, LOCATION};
use event_store::entry::StoredOutcome;
use events::ConsistencyToken;
use platform::http::{Problem, ProblemCode as _, version_tag};
use serde::Serialize;

use crate::code::CommandCode;

/// Says up to where a read must have come to show the command's effect.
pub(crate) const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");

/// Says that the answer was given before, to the same request.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The answer to a command that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    body: Body,
    token: Option<String>,
    replayed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Done {
        status: StatusCode,
        id: String,
        version: i64,
    },
    Refused {
        code: CommandCode,
        /// The version that is there instead of the one demanded; 0 when nothing is there.
        present: Option<i64>,
    },
}

/// Only who demanded a version is told which one is there.
fn refusal(code: CommandCode, version: Option<i64>) -> Body {
    let present = version.filter(|_| code == CommandCode::VersionMismatch);
    Body::Refused { code, present }
}

/// The body of a command that was done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Done<'a> {
    /// The id of what was changed.
    #[schema(format = Uuid)]
    id: &'a str,
    /// Its version; `If-Match: "v7"` demands version 7.
    #[schema(minimum = 1, example = 7)]
    version: i64,
}

impl Reply {
    pub(crate) fn done(status: u16, id: String, version: i64, token: String) -> Self {
        let status = StatusCode::from_u16(status).expect("routes name HTTP statuses");
        let body = Body::Done {
            status,
            id,
            version,
        };
        Self {
            body,
            token: Some(token),
            replayed: false,
        }
    }

    pub(crate) fn refused(code: CommandCode) -> Self {
        let present = None;
        Self {
            body: Body::Refused { code, present },
            token: None,
            replayed: false,
        }
    }

    /// The refusal of a condition, at the version that was there.
    pub(crate) fn refused_at(code: CommandCode, version: i64) -> Self {
        Self {
            body: refusal(code, Some(version)),
            ..Self::refused(code)
        }
    }

    pub(crate) fn with_token(self, token: String) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// The answer that a key remembers; none when a newer binary stored one that this binary does
    /// not know.
    pub(crate) fn replayed(outcome: &StoredOutcome) -> Option<Self> {
        let body = match &outcome.code {
            Some(name) => refusal(CommandCode::named(name)?, outcome.version),
            None => Body::Done {
                status: StatusCode::from_u16(outcome.status).ok()?,
                id: outcome.id.clone()?,
                version: outcome.version?,
            },
        };
        Some(Self {
            body,
            token: outcome.token.clone(),
            replayed: true,
        })
    }

    /// The whole answer; `collection` is where the changed resource lies, such as `/v1/users`.
    pub(crate) fn respond(&self, collection: &str) -> Result<HttpResponse, Problem> {
        let (status, id, version) = match &self.body {
            Body::Done {
                status,
                id,
                version,
            } => (*status, id, *version),
            Body::Refused { code, present } => return Err(self.problem(*code, *present)),
        };
        let mut response = HttpResponse::build(status);
        for (name, value) in self.headers() {
            response.insert_header((name, value));
        }
        response.insert_header((ETAG, version_tag(version, None, self.incarnation())));
        response.insert_header((LOCATION, format!("{collection}/{id}")));
        Ok(response.json(Done { id, version }))
    }

    /// The incarnation of the store that the answer is of, also when it is repeated in a later one.
    fn incarnation(&self) -> i32 {
        let token = self.token.as_deref();
        let token = token.and_then(|token| token.parse::<ConsistencyToken>().ok());
        let entry = token.as_ref().and_then(|token| token.entries().first());
        entry.map_or(1, |entry| entry.incarnation)
    }

    fn problem(&self, code: CommandCode, present: Option<i64>) -> Problem {
        let mut problem = Problem::new(code);
        match present {
            Some(version @ 1..) => {
                let tag = version_tag(version, None, self.incarnation());
                let detail = format!("the user is at {tag}; read it again and decide anew");
                problem = problem.detail(detail);
                if let Ok(tag) = HeaderValue::from_str(&tag) {
                    problem = problem.header(ETAG, tag);
                }
            }
            Some(_) => problem = problem.detail("there is no such user yet, so no version of it"),
            None => {}
        }
        if code == CommandCode::RequestInFlight {
            problem = problem.retry_after(crate::run::RETRY_AFTER);
        }
        debug_assert!(
            code.status().is_client_error(),
            "5xx answers are no replies"
        );
        self.headers().fold(problem, |problem, (name, value)| {
            problem.header(name, value)
        })
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let token = self
            .token
            .as_deref()
            .and_then(|token| HeaderValue::from_str(token).ok());
        let replayed = self.replayed.then(|| HeaderValue::from_static("true"));
        let token = token.map(|value| (CONSISTENCY_TOKEN, value));
        token
            .into_iter()
            .chain(replayed.map(|value| (IDEMPOTENCY_REPLAYED, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(status: u16, code: Option<&str>) -> StoredOutcome {
        StoredOutcome {
            status,
            code: code.map(str::to_owned),
            id: code.is_none().then(|| "a".to_owned()),
            version: Some(7),
            token: Some("1.3.9".to_owned()),
        }
    }

    #[test]
    fn a_repeated_answer_differs_from_the_first_by_its_mark_alone() {
        let first = Reply::done(201, "a".to_owned(), 7, "1.3.9".to_owned());
        let again = Reply::replayed(&stored(201, None)).expect("a known outcome");
        assert_eq!(
            again,
            Reply {
                replayed: true,
                ..first
            }
        );
        let refused = Reply::refused(CommandCode::EmailTaken).with_token("1.3.9".to_owned());
        let again = Reply::replayed(&stored(409, Some("email_taken"))).expect("a known outcome");
        assert_eq!(
            again,
            Reply {
                replayed: true,
                ..refused
            }
        );
    }

    #[test]
    fn an_outcome_of_a_newer_binary_is_not_guessed_at() {
        assert_eq!(Reply::replayed(&stored(409, Some("too_new"))), None);
        assert_eq!(
            Reply::replayed(&StoredOutcome {
                id: None,
                ..stored(200, None)
            }),
            None
        );
    }
}
