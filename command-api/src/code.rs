//! Every error that a command can be answered with, beside those of the HTTP layer itself
//! ([`platform::http::HttpCode`]).

use actix_web::http::StatusCode;
use domain::Refusal;
use platform::http::{Problem, ProblemCode};

/// What clients match on. The table in [`CommandCode::row`] is the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each means")]
pub enum CommandCode {
    UserNotFound,
    IdTaken,
    EmailTaken,
    UserDeactivated,
    RequestInFlight,
    VersionMismatch,
    KeyReused,
    QueueFull,
    OutcomeUnknown,
}

impl CommandCode {
    /// Every code, for documents, look-ups and tests.
    pub const ALL: [Self; 9] = [
        Self::UserNotFound,
        Self::IdTaken,
        Self::EmailTaken,
        Self::UserDeactivated,
        Self::RequestInFlight,
        Self::VersionMismatch,
        Self::KeyReused,
        Self::QueueFull,
        Self::OutcomeUnknown,
    ];

    fn row(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::UserNotFound => (
                404,
                "user_not_found",
                "There is no such user.",
                "register the user first, or check the id",
            ),
            Self::IdTaken => (
                409,
                "id_taken",
                "The id is in use.",
                "choose another id, or send none and get one",
            ),
            Self::EmailTaken => (
                409,
                "email_taken",
                "The e-mail address is in use.",
                "choose another address; each is used once in a tenant",
            ),
            Self::UserDeactivated => (
                409,
                "user_deactivated",
                "The user is deactivated and can only be reactivated.",
                "reactivate the user first",
            ),
            Self::RequestInFlight => (
                409,
                "request_in_flight",
                "A request with this Idempotency-Key is still running.",
                "wait for that request, or send the same one again in a moment",
            ),
            Self::VersionMismatch => (
                412,
                "version_mismatch",
                "The user is not at the version that If-Match demands.",
                "read the user again and decide anew",
            ),
            Self::KeyReused => (
                422,
                "key_reused",
                "This Idempotency-Key was used for another request.",
                "use a new Idempotency-Key for each new request",
            ),
            Self::QueueFull => (
                503,
                "queue_full",
                "Too many commands wait; nothing was done.",
                "send the same command again in a moment",
            ),
            Self::OutcomeUnknown => (
                503,
                "outcome_unknown",
                "Whether the command took effect is not known yet; it had one effect or none.",
                "send it again with the same Idempotency-Key, or read first whether it took effect",
            ),
        }
    }

    /// The code of a name, as stored with an idempotency key.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.code() == name)
    }
}

impl ProblemCode for CommandCode {
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

impl From<Refusal> for CommandCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::IdTaken => Self::IdTaken,
            Refusal::UserNotFound => Self::UserNotFound,
            Refusal::UserDeactivated => Self::UserDeactivated,
        }
    }
}

impl From<CommandCode> for Problem {
    fn from(code: CommandCode) -> Self {
        Problem::new(code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use platform::http::HttpCode;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_is_found_by_it() {
        let own = CommandCode::ALL.map(|code| code.code());
        let shared = HttpCode::ALL.map(|code| code.code());
        let distinct: HashSet<_> = own.iter().chain(&shared).collect();
        assert_eq!(distinct.len(), own.len() + shared.len());
        for code in CommandCode::ALL {
            assert_eq!(CommandCode::named(code.code()), Some(code));
            assert!(
                code.status().is_client_error() || code.status() == 503,
                "{code:?}"
            );
        }
        assert_eq!(CommandCode::named("unheard_of"), None);
    }
}
