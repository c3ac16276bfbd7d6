//! RegisterUser: a user comes to be, and holds its e-mail address in its tenant.

use chrono::{DateTime, Utc};
use events::user::UserRegistered;
use events::user_fields::{AvatarUrl, Bio, Email, EmailKey, Name, Region};
use events::{Personal, UserEvent};
use uuid::Uuid;

use super::{Status, User};
use crate::command::{Command, Decision, Refusal};

/// A user comes to be.
#[derive(Clone, Debug)]
pub struct RegisterUser {
    /// The new user's id, made by the caller.
    pub user_id: Uuid,
    /// Its address.
    pub email: Email,
    /// What the address is unique by.
    pub email_key: EmailKey,
    /// Its name.
    pub name: Name,
    /// Its region.
    pub region: Region,
    /// A few words about it.
    pub bio: Option<Bio>,
    /// Its picture.
    pub avatar_url: Option<AvatarUrl>,
}

impl Command for RegisterUser {
    type State = User;
    type Event = UserEvent;
    const NAME: &'static str = "RegisterUser";

    fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
        if user.status != Status::Absent {
            return Err(Refusal::IdTaken);
        }
        let plain = |text: &str| Personal::Plain(text.to_owned());
        let event = UserRegistered {
            user_id: self.user_id,
            email: plain(self.email.as_str()),
            email_key: self.email_key.clone(),
            name: plain(self.name.as_str()),
            region: self.region.as_str().to_owned(),
            bio: self.bio.as_ref().map(|bio| plain(bio.as_str())),
            avatar_url: self.avatar_url.as_ref().map(|url| plain(url.as_str())),
            registered_at: now,
        };
        Ok(Decision {
            events: vec![UserEvent::UserRegistered(event)],
            take: vec![self.email_key.clone()],
            release: vec![],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, deactivated, key, registered, user};
    use super::*;

    fn command() -> RegisterUser {
        RegisterUser {
            user_id: Uuid::from_u128(1),
            email: Email::parse("ada@example.org").expect("an address"),
            email_key: key(1),
            name: Name::parse("Ada Lovelace").expect("a name"),
            region: Region::parse("eu-west").expect("a region"),
            bio: Some(Bio::parse("analyst").expect("a bio")),
            avatar_url: None,
        }
    }

    #[test]
    fn a_new_id_is_registered_and_takes_its_address() {
        let decision = command()
            .decide(&User::default(), at(0))
            .expect("a decision");
        assert_eq!(decision.events, vec![registered()]);
        assert_eq!((decision.take, decision.release), (vec![key(1)], vec![]));
    }

    #[test]
    fn an_id_that_is_or_was_in_use_is_taken() {
        assert_eq!(
            command().decide(&user([registered()]), at(1)),
            Err(Refusal::IdTaken)
        );
        assert_eq!(
            command().decide(&deactivated(), at(1)),
            Err(Refusal::IdTaken)
        );
    }
}
