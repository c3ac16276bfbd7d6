//! Which failures are whose: an entry's, the moment's, or ours.

use std::time::Duration;

use crate::incarnation::IncarnationError;

/// Why a round trip or an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server or the connection said no.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The server holds another history, or is a standby.
    #[error("the server cannot be used")]
    Incarnation(#[from] IncarnationError),
    /// No answer in time: the connection is given up.
    #[error("no answer from the server within {0:?}")]
    Silent(Duration),
    /// The head is behind what this lane committed, and nobody has begun another incarnation.
    #[error("the store lost its tail; run `projector store fork`")]
    TailLost,
    /// The server answered something that cannot be.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(&'static str),
}

/// What is to be done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// One entry's data was refused: find it by halving the batch.
    Halve {
        /// The SQLSTATE.
        sqlstate: String,
    },
    /// It may pass: the whole batch once more on a new connection.
    Again,
    /// A bug, or a server that cannot serve: give up at once.
    GiveUp,
}

impl Failure {
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                remedy_of(&code)
            }
            Self::Database(_) | Self::Silent(_) => Remedy::Again,
            Self::Incarnation(_) | Self::TailLost | Self::Nonsense(_) => Remedy::GiveUp,
        }
    }

    /// Whether a unique key was violated: a bug, because every key is locked before it is written.
    pub(super) fn is_unique_violation(&self) -> bool {
        self.sqlstate().is_some_and(|code| code == "23505")
    }

    /// Whether the server answered, and not with a farewell: then the transaction was certainly not
    /// committed.
    pub(super) fn is_answer(&self) -> bool {
        self.sqlstate()
            .is_some_and(|code| !code.starts_with("57") && !code.starts_with("08"))
    }

    fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().map(Into::into),
            _ => None,
        }
    }
}

/// 22 data exception, 23 integrity constraint, 54 program limit: an entry's. 40 transaction
/// rollback, 53 insufficient resources, 55P03 lock not available, 57 operator intervention, 25P03
/// idle in transaction, 08 connection: the moment's.
fn remedy_of(code: &str) -> Remedy {
    if code == "23505" {
        return Remedy::GiveUp;
    }
    match code.get(..2) {
        Some("22" | "23" | "54") => Remedy::Halve {
            sqlstate: code.to_owned(),
        },
        Some("40" | "53" | "57" | "08") => Remedy::Again,
        _ if matches!(code, "55P03" | "25P03") => Remedy::Again,
        _ => Remedy::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_failure_has_its_remedy() {
        for code in ["22001", "23514", "54000"] {
            assert_eq!(
                remedy_of(code),
                Remedy::Halve {
                    sqlstate: code.to_owned()
                }
            );
        }
        for code in [
            "40P01", "40001", "53100", "55P03", "57014", "57P01", "25P03", "08006",
        ] {
            assert_eq!(remedy_of(code), Remedy::Again, "{code}");
        }
        for code in ["23505", "42P01", "55000", ""] {
            assert_eq!(remedy_of(code), Remedy::GiveUp, "{code}");
        }
    }
}
