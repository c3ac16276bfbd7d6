//! Why a command came to no decision, and what its client is told: never the cause, which goes to
//! the log once.

use event_store::ReadError;
use event_store::aggregates::ExecuteError;
use event_store::entry::AppendError;
use platform::http::{HttpCode, Problem};
use platform::telemetry::chain;

use crate::code::CommandCode;
use crate::metrics::Ending;
use crate::run::RETRY_AFTER;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the idempotency key could not be looked up")]
    Lookup(#[from] ReadError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error("the append refused a claim of kind {0}, which no command takes")]
    UnknownClaim(&'static str),
    #[error("the stored outcome was written by a newer binary")]
    UnknownOutcome,
}

/// What a failure comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A bounded queue is full; nothing was done.
    Full,
    /// The store is away, contended or stopping; nothing was done.
    Unavailable,
    /// One effect or none.
    Unknown,
    /// A bug or a damaged store.
    Internal,
}

impl Failure {
    fn kind(&self) -> Kind {
        match self {
            Self::Lookup(error) | Self::Execute(ExecuteError::Load(error)) => match error {
                ReadError::Database(_) => Kind::Unavailable,
                _ => Kind::Internal,
            },
            Self::Execute(ExecuteError::MailboxFull(_)) => Kind::Full,
            Self::Execute(ExecuteError::Contended) => Kind::Unavailable,
            Self::Execute(ExecuteError::Decode(_) | ExecuteError::Encode(_)) => Kind::Internal,
            Self::Execute(ExecuteError::Append(error)) => match error {
                AppendError::QueueFull => Kind::Full,
                AppendError::OtherIncarnation
                | AppendError::Unavailable
                | AppendError::ShuttingDown => Kind::Unavailable,
                AppendError::OutcomeUnknown => Kind::Unknown,
                AppendError::Rejected { .. } | AppendError::Malformed(_) => Kind::Internal,
            },
            Self::UnknownClaim(_) => Kind::Internal,
            Self::UnknownOutcome => Kind::Unavailable,
        }
    }

    /// The session was gone when its statement came to it: a lookup or a load, so nothing was done,
    /// and another session can do it.
    pub(crate) fn met_an_ended_session(&self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let (Self::Lookup(error) | Self::Execute(ExecuteError::Load(error))) = self else {
            return false;
        };
        match error {
            ReadError::Database(sqlx::Error::Io(error)) => matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            ),
            // Ended by an administrator, in a crash, or for having been idle.
            ReadError::Database(sqlx::Error::Database(error)) => {
                matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P05"))
            }
            _ => false,
        }
    }

    pub(crate) fn ending(&self) -> Ending {
        match self.kind() {
            Kind::Full | Kind::Unavailable => Ending::Unavailable,
            Kind::Unknown => Ending::Unknown,
            Kind::Internal => Ending::Failed,
        }
    }

    /// Logs the cause and says what the client may know.
    pub(crate) fn tell(&self, command: &'static str) -> Problem {
        let error = chain(self);
        match self.kind() {
            Kind::Full => {
                tracing::debug!(command, %error, "a command found a full queue");
                Problem::new(CommandCode::QueueFull).retry_after(RETRY_AFTER)
            }
            Kind::Unavailable => {
                tracing::warn!(command, %error, "a command could not be run");
                Problem::new(HttpCode::Unavailable).retry_after(RETRY_AFTER)
            }
            Kind::Unknown => {
                tracing::error!(command, %error, "whether a command took effect is not known");
                Problem::new(CommandCode::OutcomeUnknown).retry_after(RETRY_AFTER)
            }
            Kind::Internal => {
                tracing::error!(command, %error, "a command failed");
                Problem::new(HttpCode::Internal)
            }
        }
    }
}
