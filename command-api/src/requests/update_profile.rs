//! The request of UpdateProfile: a merge patch.

use domain::User;
use domain::user::UpdateProfile;
use events::user_fields::{AvatarUrl, Bio, Name, Region};
use platform::http::{Fields, Patch, Problem, StrictBody};
use utoipa::ToSchema;

use super::{USERS, text};
use crate::code::CommandCode;
use crate::request::{Addressed, Arrival, BodyForm, Request};

/// What changes of a profile; what is left out stays.
#[derive(ToSchema)]
#[schema(as = UpdateProfile)]
pub(crate) struct UpdateProfileRequest {
    /// The new name.
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100)]
    name: Option<Name>,
    /// The new region.
    #[schema(value_type = String, required = false, pattern = "^[a-z0-9-]{1,32}$")]
    region: Option<Region>,
    /// New words about the user, or null for none.
    #[schema(value_type = Option<String>, max_length = 500)]
    bio: Patch<Bio>,
    /// The https URL of a new picture, or null for none.
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    avatar_url: Patch<AvatarUrl>,
}

impl StrictBody for UpdateProfileRequest {
    fn take(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.patch_not_null_as("name", text(Name::parse)),
            region: fields.patch_not_null_as("region", text(Region::parse)),
            bio: fields.patch_as("bio", text(Bio::parse)),
            avatar_url: fields.patch_as("avatar_url", text(AvatarUrl::parse)),
        })
    }
}

impl Request for UpdateProfileRequest {
    type Aggregate = User;
    type Command = UpdateProfile;

    const ROUTE: &'static str = "PATCH /v1/users/{id}";
    const COLLECTION: &'static str = USERS;
    const SUMMARY: &'static str = "Change some of a user's profile (JSON Merge Patch).";
    const BODY: BodyForm = BodyForm::MergePatch;
    const REFUSALS: &'static [CommandCode] =
        &[CommandCode::UserNotFound, CommandCode::UserDeactivated];

    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<UpdateProfile>, Problem> {
        let Self {
            name,
            region,
            bio,
            avatar_url,
        } = self;
        let (bio, avatar_url) = (patch(bio), patch(avatar_url));
        Ok(arrival.for_path_id(UpdateProfile {
            name,
            region,
            bio,
            avatar_url,
        }))
    }
}

fn patch<T>(patch: Patch<T>) -> events::Patch<T> {
    match patch {
        Patch::Absent => events::Patch::Keep,
        Patch::Null => events::Patch::Clear,
        Patch::Value(value) => events::Patch::Set(value),
    }
}
