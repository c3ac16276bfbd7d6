//! UpdateProfile: some of name, region, bio and avatar change.

use chrono::{DateTime, Utc};
use events::user::UserProfileUpdated;
use events::user_fields::{AvatarUrl, Bio, Name, Region};
use events::{Patch, Personal, UserEvent};

use super::User;
use crate::command::{Command, Decision, Refusal};

/// Some of the profile changes; what is not named is kept.
#[derive(Clone, Debug, Default)]
pub struct UpdateProfile {
    /// The new name.
    pub name: Option<Name>,
    /// The new region.
    pub region: Option<Region>,
    /// The new words, or none.
    pub bio: Patch<Bio>,
    /// The new picture, or none.
    pub avatar_url: Patch<AvatarUrl>,
}

impl Command for UpdateProfile {
    type State = User;
    type Event = UserEvent;
    const NAME: &'static str = "UpdateProfile";

    /// The aggregate holds no plain text of personal fields, so naming one is always a change; a
    /// region that the user has already is none.
    fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
        user.require_active()?;
        let region = self.region.as_ref().map(Region::as_str);
        let new_region = region.filter(|region| user.region.as_deref() != Some(region));
        let names_personal =
            self.name.is_some() || !self.bio.is_keep() || !self.avatar_url.is_keep();
        if new_region.is_none() && !names_personal {
            return Ok(Decision::unchanged());
        }
        let plain = |text: &str| Personal::Plain(text.to_owned());
        Ok(Decision::event(UserEvent::UserProfileUpdated(
            UserProfileUpdated {
                name: self.name.as_ref().map(|name| plain(name.as_str())),
                region: new_region.map(str::to_owned),
                bio: self.bio.clone().map(|bio| plain(bio.as_str())),
                avatar_url: self.avatar_url.clone().map(|url| plain(url.as_str())),
                updated_at: now,
            },
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, deactivated, registered, user};
    use super::*;

    #[test]
    fn a_named_personal_field_is_always_a_change() {
        let command = UpdateProfile {
            bio: Patch::Clear,
            ..UpdateProfile::default()
        };
        let decision = command
            .decide(&user([registered()]), at(5))
            .expect("a decision");
        assert_eq!(
            decision.events,
            vec![UserEvent::UserProfileUpdated(UserProfileUpdated {
                name: None,
                region: None,
                bio: Patch::Clear,
                avatar_url: Patch::Keep,
                updated_at: at(5),
            })]
        );
    }

    #[test]
    fn the_same_region_and_an_empty_patch_change_nothing() {
        let region = Some(Region::parse("eu-west").expect("a region"));
        let command = UpdateProfile {
            region,
            ..UpdateProfile::default()
        };
        let active = user([registered()]);
        assert_eq!(command.decide(&active, at(5)), Ok(Decision::unchanged()));
        assert_eq!(
            UpdateProfile::default().decide(&active, at(5)),
            Ok(Decision::unchanged())
        );
    }

    #[test]
    fn a_deactivated_or_unknown_user_is_refused() {
        let command = UpdateProfile::default();
        assert_eq!(
            command.decide(&deactivated(), at(5)),
            Err(Refusal::UserDeactivated)
        );
        assert_eq!(
            command.decide(&User::default(), at(5)),
            Err(Refusal::UserNotFound)
        );
    }
}
