//! The request of RecordActivity.

use domain::User;
use domain::user::RecordActivity;
use platform::http::Problem;

use super::USERS;
use crate::code::CommandCode;
use crate::request::{Addressed, Arrival, BodyForm, Empty, Request};

/// No body.
pub(crate) type RecordActivityRequest = Empty<RecordActivity>;

impl Request for RecordActivityRequest {
    type Aggregate = User;
    type Command = RecordActivity;

    const ROUTE: &'static str = "POST /v1/users/{id}/activity";
    const COLLECTION: &'static str = USERS;
    const SUMMARY: &'static str = "Record that a user is active; at most one event \
        every five minutes, otherwise nothing changes.";
    const BODY: BodyForm = BodyForm::Empty;
    const REFUSALS: &'static [CommandCode] =
        &[CommandCode::UserNotFound, CommandCode::UserDeactivated];

    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<RecordActivity>, Problem> {
        Ok(arrival.for_path_id(RecordActivity))
    }
}
