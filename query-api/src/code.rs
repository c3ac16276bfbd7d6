//! Every error that a query can be answered with, beside those of the HTTP layer itself
//! ([`platform::http::HttpCode`]).

use actix_web::http::StatusCode;
use platform::http::ProblemCode;

/// What clients match on. The table in [`QueryCode::row`] is the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each means")]
pub enum QueryCode {
    CursorInvalid,
    TokenUnknown,
    UserNotFound,
    WriteLost,
    NotCaughtUp,
    Filling,
    ProjectionParked,
    StoreDown,
}

impl QueryCode {
    /// Every code, for documents and tests.
    pub const ALL: [Self; 8] = [
        Self::CursorInvalid,
        Self::TokenUnknown,
        Self::UserNotFound,
        Self::WriteLost,
        Self::NotCaughtUp,
        Self::Filling,
        Self::ProjectionParked,
        Self::StoreDown,
    ];

    fn row(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::CursorInvalid => (
                400,
                "cursor_invalid",
                "The cursor is not one that this list gave.",
                "begin at the first page, or send the `older` of the page before",
            ),
            Self::TokenUnknown => (
                400,
                "token_unknown",
                "The Consistency-Token is not one that this store gave.",
                "send back a Consistency-Token as you got it from this service",
            ),
            Self::UserNotFound => (
                404,
                "user_not_found",
                "There is no such user.",
                "check the id; one registered just now is found with that answer's Consistency-Token",
            ),
            Self::WriteLost => (
                409,
                "write_lost",
                "What the Consistency-Token stands for was lost by the store.",
                "read without a Consistency-Token and, where it matters, send the command again",
            ),
            Self::NotCaughtUp => (
                503,
                "not_caught_up",
                "The view has not reached the Consistency-Token yet.",
                "ask again",
            ),
            Self::Filling => (
                503,
                "filling",
                "The view is being filled and is not served yet.",
                "ask again; until then there is no answer rather than a wrong one",
            ),
            Self::ProjectionParked => (
                503,
                "projection_parked",
                "An event that the answer depends on waits for an operator.",
                "ask again without a Consistency-Token, or when an operator has repaired it",
            ),
            Self::StoreDown => (
                503,
                "store_down",
                "The database does not answer.",
                "ask again",
            ),
        }
    }
}

impl ProblemCode for QueryCode {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use platform::http::HttpCode;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let own = QueryCode::ALL.map(|code| code.code());
        let shared = HttpCode::ALL.map(|code| code.code());
        let distinct: HashSet<_> = own.iter().chain(&shared).collect();
        assert_eq!(distinct.len(), own.len() + shared.len());
        for code in QueryCode::ALL {
            assert!(
                code.status().is_client_error() || code.status() == 503,
                "{code:?}"
            );
        }
    }
}
