//! The request of Reactivate.

use domain::User;
use domain::user::Reactivate;
use platform::http::Problem;

use super::USERS;
use crate::code::CommandCode;
use crate::request::{Addressed, Arrival, BodyForm, Empty, Request};

/// No body.
pub(crate) type ReactivateRequest = Empty<Reactivate>;

impl Request for ReactivateRequest {
    type Aggregate = User;
    type Command = Reactivate;

    const ROUTE: &'static str = "POST /v1/users/{id}/reactivate";
    const COLLECTION: &'static str = USERS;
    const SUMMARY: &'static str = "Reactivate a user.";
    const BODY: BodyForm = BodyForm::Empty;
    const REFUSALS: &'static [CommandCode] = &[CommandCode::UserNotFound];

    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<Reactivate>, Problem> {
        Ok(arrival.for_path_id(Reactivate))
    }
}
