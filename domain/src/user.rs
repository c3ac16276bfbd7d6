//! The user aggregate. Its state holds no plain text of a personal field: the address is known by
//! its key alone.

mod change_email;
mod deactivate;
mod reactivate;
mod record_activity;
mod register_user;
mod update_profile;

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use events::UserEvent;
use events::user_fields::EmailKey;
use serde::{Deserialize, Serialize};

use crate::command::{Command, Decision, Refusal};

pub use change_email::ChangeEmail;
pub use deactivate::Deactivate;
pub use reactivate::Reactivate;
pub use record_activity::{ACTIVITY_INTERVAL_MINUTES, RecordActivity};
pub use register_user::RegisterUser;
pub use update_profile::UpdateProfile;

/// Lists the commands: an enum that only delegates.
macro_rules! commands {
    ($($command:ident),* $(,)?) => {
        /// Every command that a user takes.
        #[derive(Clone, Debug)]
        pub enum UserCommand {
            $(#[doc = concat!("See [`", stringify!($command), "`].")] $command($command),)*
        }

        impl UserCommand {
            /// Decides by the command's own rule.
            ///
            /// # Errors
            /// The command's [`Refusal`].
            pub fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
                match self {
                    $(Self::$command(command) => command.decide(user, now),)*
                }
            }

            /// The command's name in metrics and logs.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$command(_) => $command::NAME,)*
                }
            }
        }

        $(impl From<$command> for UserCommand {
            fn from(command: $command) -> Self {
                Self::$command(command)
            }
        })*
    };
}

commands![
    RegisterUser,
    UpdateProfile,
    ChangeEmail,
    Deactivate,
    Reactivate,
    RecordActivity,
];

/// A user as its commands see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Whether it exists, and is active.
    pub status: Status,
    /// What its address is unique by; there is one from registration on.
    pub email_key: Option<EmailKey>,
    /// Its region; not personal, so an update to the same region changes nothing.
    pub region: Option<String>,
    /// When its last recorded activity was decided; registration is none.
    pub last_activity: Option<DateTime<Utc>>,
}

/// The life of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It was never registered.
    #[default]
    Absent,
    /// It can do everything.
    Active,
    /// It can only be reactivated.
    Deactivated,
}

impl User {
    /// Refuses what only an active user can do.
    fn require_active(&self) -> Result<(), Refusal> {
        match self.status {
            Status::Absent => Err(Refusal::UserNotFound),
            Status::Active => Ok(()),
            Status::Deactivated => Err(Refusal::UserDeactivated),
        }
    }
}

/// The clock of a decision, as cqrs-es hands it in: the instant that the caller stores.
#[derive(Clone, Copy, Debug)]
pub struct Now(pub DateTime<Utc>);

impl Aggregate for User {
    const TYPE: &'static str = events::stream::USER;
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = Refusal;
    type Services = Now;

    async fn handle(
        &mut self,
        command: UserCommand,
        now: &Now,
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        for event in command.decide(self, now.0)?.events {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: UserEvent) {
        match event {
            UserEvent::UserRegistered(event) => {
                self.status = Status::Active;
                self.email_key = Some(event.email_key);
                self.region = Some(event.region);
            }
            UserEvent::UserProfileUpdated(event) => {
                if let Some(region) = event.region {
                    self.region = Some(region);
                }
            }
            UserEvent::UserEmailChanged(event) => self.email_key = Some(event.email_key),
            UserEvent::UserDeactivated(_) => self.status = Status::Deactivated,
            UserEvent::UserReactivated(_) => self.status = Status::Active,
            UserEvent::UserActivityRecorded(event) => self.last_activity = Some(event.active_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::fixtures::{at, registered};
    use super::*;

    #[test]
    fn the_aggregate_speaks_cqrs_es() {
        TestFramework::<User>::with(Now(at(60)))
            .given(vec![registered()])
            .when(Deactivate.into())
            .then_expect_events(vec![UserEvent::UserDeactivated(
                events::user::UserDeactivated {
                    deactivated_at: at(60),
                },
            )]);
    }

    #[test]
    fn the_state_holds_no_plain_text_of_a_personal_field() {
        let mut user = User::default();
        user.apply(registered());
        let json = serde_json::to_string(&user).expect("json");
        for personal in ["ada@example.org", "Ada Lovelace", "analyst"] {
            assert!(!json.contains(personal), "{personal} in {json}");
        }
    }
}

#[cfg(test)]
mod fixtures {
    //! Given, when, then: the states that the commands' tests start from.

    use chrono::TimeDelta;
    use events::Personal;
    use events::user::UserRegistered;
    use uuid::Uuid;

    use super::*;

    pub(super) fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    pub(super) fn key(byte: u8) -> EmailKey {
        EmailKey {
            hash: [byte; 32],
            key_version: 1,
        }
    }

    pub(super) fn registered() -> UserEvent {
        UserEvent::UserRegistered(UserRegistered {
            user_id: Uuid::from_u128(1),
            email: Personal::Plain("ada@example.org".to_owned()),
            email_key: key(1),
            name: Personal::Plain("Ada Lovelace".to_owned()),
            region: "eu-west".to_owned(),
            bio: Some(Personal::Plain("analyst".to_owned())),
            avatar_url: None,
            registered_at: at(0),
        })
    }

    pub(super) fn user(history: impl IntoIterator<Item = UserEvent>) -> User {
        let mut user = User::default();
        history.into_iter().for_each(|event| user.apply(event));
        user
    }

    pub(super) fn deactivated() -> User {
        let event = events::user::UserDeactivated {
            deactivated_at: at(1),
        };
        user([registered(), UserEvent::UserDeactivated(event)])
    }
}
