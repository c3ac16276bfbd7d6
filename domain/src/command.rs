//! What every command is: data, a name, and a pure decision.

use chrono::{DateTime, Utc};
use events::user_fields::EmailKey;

/// A request to change one aggregate.
pub trait Command {
    /// The aggregate's state that the decision reads.
    type State;
    /// The aggregate's events.
    type Event;
    /// The name in metrics and logs, such as `RegisterUser`.
    const NAME: &'static str;

    /// Decides what happens, from the arguments alone.
    ///
    /// # Errors
    /// [`Refusal`] when the aggregate's state forbids it.
    fn decide(
        &self,
        state: &Self::State,
        now: DateTime<Utc>,
    ) -> Result<Decision<Self::Event>, Refusal>;
}

/// What happens: the events, and the claims that change with them in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<E> {
    /// The events; none means that the command changes nothing.
    pub events: Vec<E>,
    /// E-mail keys that the aggregate now holds.
    pub take: Vec<EmailKey>,
    /// E-mail keys that it gives back.
    pub release: Vec<EmailKey>,
}

impl<E> Decision<E> {
    /// Nothing happens: the state is already as asked.
    #[must_use]
    pub fn unchanged() -> Self {
        Self {
            events: vec![],
            take: vec![],
            release: vec![],
        }
    }

    /// One event and no change of claims.
    #[must_use]
    pub fn event(event: E) -> Self {
        Self {
            events: vec![event],
            ..Self::unchanged()
        }
    }
}

/// Why an aggregate refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id is in use.
    #[error("the id is taken")]
    IdTaken,
    /// There is no such user.
    #[error("there is no such user")]
    UserNotFound,
    /// The user is deactivated; only reactivation is possible.
    #[error("the user is deactivated")]
    UserDeactivated,
}
