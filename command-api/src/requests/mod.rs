//! One file a command: its request.

mod change_email;
mod deactivate;
mod reactivate;
mod record_activity;
mod register_user;
mod update_profile;

pub(crate) use change_email::ChangeEmailRequest;
pub(crate) use deactivate::DeactivateRequest;
pub(crate) use reactivate::ReactivateRequest;
pub(crate) use record_activity::RecordActivityRequest;
pub(crate) use register_user::RegisterUserRequest;
pub(crate) use update_profile::UpdateProfileRequest;

/// Where users lie.
const USERS: &str = "/v1/users";

/// A text field that is parsed into a value object.
fn text<T, E>(parse: impl FnOnce(&str) -> Result<T, E>) -> impl FnOnce(String) -> Result<T, E> {
    move |text| parse(&text)
}
