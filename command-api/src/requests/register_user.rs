//! The request of RegisterUser.

use domain::User;
use domain::user::RegisterUser;
use event_store::aggregates::Presence;
use events::Role;
use events::user_fields::{AvatarUrl, Bio, Email, Name, Region};
use platform::http::{Fields, HttpCode, Problem, StrictBody};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{USERS, text};
use crate::code::CommandCode;
use crate::request::{Addressed, Arrival, BodyForm, Request};

/// A new user.
#[derive(ToSchema)]
#[schema(as = RegisterUser)]
pub(crate) struct RegisterUserRequest {
    /// The new user's id. Without it a user gets its token's `sub`, and an admin a new id.
    #[schema(value_type = Option<String>, format = Uuid)]
    id: Option<Uuid>,
    /// The address, unique in the tenant.
    #[schema(value_type = String, format = Email, max_length = 254, example = "ada@example.org")]
    email: Email,
    /// The name.
    #[schema(value_type = String, min_length = 1, max_length = 100, example = "Ada Lovelace")]
    name: Name,
    /// The region.
    #[schema(value_type = String, pattern = "^[a-z0-9-]{1,32}$", example = "eu-west")]
    region: Region,
    /// A few words about the user.
    #[schema(value_type = Option<String>, max_length = 500)]
    bio: Option<Bio>,
    /// The https URL of a picture.
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    avatar_url: Option<AvatarUrl>,
}

impl StrictBody for RegisterUserRequest {
    fn take(fields: &mut Fields) -> Option<Self> {
        let id = fields.optional("id");
        let email = fields.required_as("email", text(Email::parse));
        let name = fields.required_as("name", text(Name::parse));
        let region = fields.required_as("region", text(Region::parse));
        let bio = fields.optional_as("bio", text(Bio::parse));
        let avatar_url = fields.optional_as("avatar_url", text(AvatarUrl::parse));
        Some(Self {
            id,
            email: email?,
            name: name?,
            region: region?,
            bio,
            avatar_url,
        })
    }
}

impl Request for RegisterUserRequest {
    type Aggregate = User;
    type Command = RegisterUser;

    const ROUTE: &'static str = "POST /v1/users";
    const COLLECTION: &'static str = USERS;
    const SUMMARY: &'static str = "Register a user.";
    const BODY: BodyForm = BodyForm::Json;
    const SUCCESS: u16 = 201;
    const REFUSALS: &'static [CommandCode] = &[CommandCode::IdTaken, CommandCode::EmailTaken];

    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<RegisterUser>, Problem> {
        let Self {
            id,
            email,
            name,
            region,
            bio,
            avatar_url,
        } = self;
        let (id, presence) = match (id, arrival.scope.role) {
            (Some(id), _) => (id, Presence::Unexpected),
            (None, Role::User) => (own_id(&arrival.scope.principal)?, Presence::Unexpected),
            (None, Role::Operator | Role::Admin) => (Uuid::now_v7(), Presence::Impossible),
        };
        let email_key = arrival.email_keys.of(&arrival.scope.tenant, &email);
        let command = RegisterUser {
            user_id: id,
            email,
            email_key,
            name,
            region,
            bio,
            avatar_url,
        };
        Ok(Addressed {
            id,
            presence,
            command,
        })
    }
}

fn own_id(principal: &str) -> Result<Uuid, Problem> {
    principal.parse().map_err(|_| {
        Problem::new(HttpCode::Forbidden)
            .detail("a user's id is a UUID, and the token's `sub` is none")
    })
}
