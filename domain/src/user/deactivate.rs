//! Deactivate: the user can only be reactivated until it is. It keeps its address.

use chrono::{DateTime, Utc};
use events::UserEvent;
use events::user::UserDeactivated;

use super::{Status, User};
use crate::command::{Command, Decision, Refusal};

/// The user is deactivated.
#[derive(Clone, Copy, Debug)]
pub struct Deactivate;

impl Command for Deactivate {
    type State = User;
    type Event = UserEvent;
    const NAME: &'static str = "Deactivate";

    fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
        match user.status {
            Status::Absent => Err(Refusal::UserNotFound),
            Status::Deactivated => Ok(Decision::unchanged()),
            Status::Active => {
                let event = UserDeactivated {
                    deactivated_at: now,
                };
                Ok(Decision::event(UserEvent::UserDeactivated(event)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, deactivated, registered, user};
    use super::*;

    #[test]
    fn an_active_user_is_deactivated_and_keeps_its_address() {
        let decision = Deactivate
            .decide(&user([registered()]), at(5))
            .expect("a decision");
        let event = UserDeactivated {
            deactivated_at: at(5),
        };
        assert_eq!(decision, Decision::event(UserEvent::UserDeactivated(event)));
    }

    #[test]
    fn once_is_enough_and_an_unknown_user_is_refused() {
        assert_eq!(
            Deactivate.decide(&deactivated(), at(5)),
            Ok(Decision::unchanged())
        );
        assert_eq!(
            Deactivate.decide(&User::default(), at(5)),
            Err(Refusal::UserNotFound)
        );
    }
}
