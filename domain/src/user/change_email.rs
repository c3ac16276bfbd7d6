//! ChangeEmail: the user gives one address back and takes another, in one step.

use chrono::{DateTime, Utc};
use events::user::UserEmailChanged;
use events::user_fields::{Email, EmailKey};
use events::{Personal, UserEvent};

use super::User;
use crate::command::{Command, Decision, Refusal};

/// The user's address changes.
#[derive(Clone, Debug)]
pub struct ChangeEmail {
    /// The new address.
    pub email: Email,
    /// What the new address is unique by.
    pub email_key: EmailKey,
}

impl Command for ChangeEmail {
    type State = User;
    type Event = UserEvent;
    const NAME: &'static str = "ChangeEmail";

    /// The same address written in another way keeps its claim and is still a change, because the
    /// aggregate does not know how it was written before.
    fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
        user.require_active()?;
        let held = user
            .email_key
            .iter()
            .filter(|held| **held != self.email_key);
        Ok(Decision {
            events: vec![UserEvent::UserEmailChanged(UserEmailChanged {
                email: Personal::Plain(self.email.as_str().to_owned()),
                email_key: self.email_key.clone(),
                changed_at: now,
            })],
            take: vec![self.email_key.clone()],
            release: held.cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, deactivated, key, registered, user};
    use super::*;

    fn command(byte: u8) -> ChangeEmail {
        ChangeEmail {
            email: Email::parse("ada@example.com").expect("an address"),
            email_key: key(byte),
        }
    }

    #[test]
    fn the_old_address_is_given_back_and_the_new_one_taken() {
        let decision = command(2)
            .decide(&user([registered()]), at(5))
            .expect("a decision");
        assert_eq!(
            (decision.take, decision.release),
            (vec![key(2)], vec![key(1)])
        );
        assert_eq!(decision.events.len(), 1);
    }

    #[test]
    fn the_same_address_written_otherwise_keeps_its_claim() {
        let decision = command(1)
            .decide(&user([registered()]), at(5))
            .expect("a decision");
        assert_eq!((decision.take, decision.release), (vec![key(1)], vec![]));
    }

    #[test]
    fn the_address_last_taken_is_the_one_given_back() {
        let first = command(2)
            .decide(&user([registered()]), at(5))
            .expect("a decision");
        let user = user([registered()].into_iter().chain(first.events));
        let second = command(3).decide(&user, at(6)).expect("a decision");
        assert_eq!(second.release, vec![key(2)]);
    }

    #[test]
    fn a_deactivated_user_is_refused() {
        assert_eq!(
            command(2).decide(&deactivated(), at(5)),
            Err(Refusal::UserDeactivated)
        );
    }
}
