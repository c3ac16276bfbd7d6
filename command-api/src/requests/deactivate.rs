//! The request of Deactivate.

use domain::User;
use domain::user::Deactivate;
use platform::http::Problem;

use super::USERS;
use crate::code::CommandCode;
use crate::request::{Addressed, Arrival, BodyForm, Empty, Request};

/// No body.
pub(crate) type DeactivateRequest = Empty<Deactivate>;

impl Request for DeactivateRequest {
    type Aggregate = User;
    type Command = Deactivate;

    const ROUTE: &'static str = "POST /v1/users/{id}/deactivate";
    const COLLECTION: &'static str = USERS;
    const SUMMARY: &'static str = "Deactivate a user: until it is \
        reactivated, nothing else is possible. It keeps its e-mail address.";
    const BODY: BodyForm = BodyForm::Empty;
    const REFUSALS: &'static [CommandCode] = &[CommandCode::UserNotFound];

    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<Deactivate>, Problem> {
        Ok(arrival.for_path_id(Deactivate))
    }
}
