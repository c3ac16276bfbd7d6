//! Reactivate: the user can do everything again. It keeps its address.

use chrono::{DateTime, Utc};
use events::UserEvent;
use events::user::UserReactivated;

use super::{Status, User};
use crate::command::{Command, Decision, Refusal};

/// The user is reactivated.
#[derive(Clone, Copy, Debug)]
pub struct Reactivate;

impl Command for Reactivate {
    type State = User;
    type Event = UserEvent;
    const NAME: &'static str = "Reactivate";

    fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
        match user.status {
            Status::Absent => Err(Refusal::UserNotFound),
            Status::Active => Ok(Decision::unchanged()),
            Status::Deactivated => {
                let event = UserReactivated {
                    reactivated_at: now,
                };
                Ok(Decision::event(UserEvent::UserReactivated(event)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, deactivated, registered, user};
    use super::*;

    #[test]
    fn a_deactivated_user_is_reactivated() {
        let decision = Reactivate
            .decide(&deactivated(), at(5))
            .expect("a decision");
        let event = UserReactivated {
            reactivated_at: at(5),
        };
        assert_eq!(decision, Decision::event(UserEvent::UserReactivated(event)));
    }

    #[test]
    fn an_active_user_stays_as_it_is_and_an_unknown_one_is_refused() {
        let active = user([registered()]);
        assert_eq!(Reactivate.decide(&active, at(5)), Ok(Decision::unchanged()));
        assert_eq!(
            Reactivate.decide(&User::default(), at(5)),
            Err(Refusal::UserNotFound)
        );
    }
}
