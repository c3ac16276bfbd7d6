//! The request of ChangeEmail.

use domain::User;
use domain::user::ChangeEmail;
use events::user_fields::Email;
use platform::http::{Fields, Problem, StrictBody};
use utoipa::ToSchema;

use super::{USERS, text};
use crate::code::CommandCode;
use crate::request::{Addressed, Arrival, BodyForm, Request};

/// A new e-mail address.
#[derive(ToSchema)]
#[schema(as = ChangeEmail)]
pub(crate) struct ChangeEmailRequest {
    /// The new address, unique in the tenant.
    #[schema(value_type = String, format = Email, max_length = 254, example = "ada@example.org")]
    email: Email,
}

impl StrictBody for ChangeEmailRequest {
    fn take(fields: &mut Fields) -> Option<Self> {
        let email = fields.required_as("email", text(Email::parse));
        Some(Self { email: email? })
    }
}

impl Request for ChangeEmailRequest {
    type Aggregate = User;
    type Command = ChangeEmail;

    const ROUTE: &'static str = "PUT /v1/users/{id}/email";
    const COLLECTION: &'static str = USERS;
    const SUMMARY: &'static str =
        "Change a user's e-mail address; the old one is free at the same moment.";
    const BODY: BodyForm = BodyForm::Json;
    const REFUSALS: &'static [CommandCode] = &[
        CommandCode::UserNotFound,
        CommandCode::EmailTaken,
        CommandCode::UserDeactivated,
    ];

    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<ChangeEmail>, Problem> {
        let email_key = arrival.email_keys.of(&arrival.scope.tenant, &self.email);
        Ok(arrival.for_path_id(ChangeEmail {
            email: self.email,
            email_key,
        }))
    }
}
