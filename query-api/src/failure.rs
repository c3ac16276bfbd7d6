//! Why a read has no answer, and what the client is told of it.

use std::time::Duration;

use platform::http::{HttpCode, Problem};

use crate::code::QueryCode;
use crate::demand::Demand;

/// When a client should ask again while something passes by itself.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Why a read has no answer. Cheap to clone: readers that share a flight share its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No generation of the view is served yet.
    #[error("the view is being filled")]
    Filling,
    /// The view did not reach the needed position in time.
    #[error("the view is behind")]
    NotCaughtUp,
    /// An event of the row waits for an operator, and the token asks for it.
    #[error("an event that the answer depends on is parked")]
    Parked,
    /// The token names a position above the head.
    #[error("the token is not one of this store")]
    TokenUnknown,
    /// The token names a position that was lost.
    #[error("what the token stands for was lost")]
    WriteLost,
    /// The database does not answer.
    #[error("the database does not answer")]
    StoreDown,
    /// The policy of the view forbids it.
    #[error("the role does not allow this read")]
    NotAllowed,
    /// A bug.
    #[error("the read failed")]
    Internal,
}

impl Failure {
    /// The failure that an error of the database is. Said in the log here, once.
    #[must_use]
    pub(crate) fn of_database(error: &sqlx::Error) -> Self {
        if is_missing_relation(error) {
            return Self::Filling;
        }
        if is_down(error) {
            return Self::StoreDown;
        }
        tracing::error!(error = %platform::telemetry::chain(error), "a read failed");
        Self::Internal
    }
}

/// Before the first activation there is no view `read_model.user_view`, and before the migrations
/// nothing at all.
#[must_use]
pub(crate) fn is_missing_relation(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("42P01" | "3F000"))
}

/// A cached plan whose view was replaced by a switch of generations.
#[must_use]
pub(crate) fn is_stale_plan(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("0A000"))
}

/// The database failed as a whole, and may be back later.
fn is_down(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connection trouble, shutdown and cancelled statements, resources, authentication; and a
        // lock that was not had in time (55P03): a switch holds the view for a moment.
        sqlx::Error::Database(_) => sqlstate(error).is_some_and(|state| {
            ["08", "57", "53", "58", "28", "3D", "55P03"]
                .iter()
                .any(|class| state.starts_with(class))
        }),
        _ => false,
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// The answer to a client whose read failed. It says how long was waited: who took milliseconds for
/// seconds in `Prefer: wait=` sees why the answer came at once.
#[must_use]
pub(crate) fn problem(failure: Failure, demand: &Demand) -> Problem {
    let later = |code| Problem::new(code).retry_after(RETRY_SOON);
    match failure {
        Failure::Filling => later(QueryCode::Filling),
        Failure::NotCaughtUp => later(QueryCode::NotCaughtUp).detail(behind(demand)),
        Failure::Parked => later(QueryCode::ProjectionParked),
        Failure::StoreDown => later(QueryCode::StoreDown),
        Failure::TokenUnknown => Problem::new(QueryCode::TokenUnknown),
        Failure::WriteLost => Problem::new(QueryCode::WriteLost),
        Failure::NotAllowed => Problem::new(HttpCode::Forbidden),
        Failure::Internal => Problem::new(HttpCode::Internal),
    }
}

fn behind(demand: &Demand) -> String {
    let what = match &demand.token {
        Some(_) => "the view did not reach the Consistency-Token",
        None => "the view did not reach what it showed before",
    };
    format!("{what} within {} ms; ask again", demand.wait.as_millis())
}
