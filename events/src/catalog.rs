//! Every event type and version ever stored. A reader goes through [`decode`], so an old shape is
//! lifted to today's by its upcaster in one place, and what a binary does not know is an error that
//! parks its key and is never skipped.

use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;

use crate::user::{
    UserActivityRecorded, UserDeactivated, UserEmailChanged, UserEvent, UserProfileUpdated,
    UserReactivated, UserRegistered,
};

/// Why a stored event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer binary wrote it; it is retried by itself when such a binary starts.
    #[error("event {event_type} version {version} is not known to this binary")]
    UnknownVersion {
        /// The stored type.
        event_type: String,
        /// The stored version.
        version: i32,
    },
    /// The payload has not the shape that its type and version promise. The text of the payload is
    /// not repeated: it may be personal.
    #[error(
        "the payload of {event_type} version {version} does not have its published shape at line {line}, column {column}"
    )]
    Malformed {
        /// The stored type.
        event_type: String,
        /// The stored version.
        version: i32,
        /// Line in the payload.
        line: usize,
        /// Column in the payload.
        column: usize,
    },
}

impl DecodeError {
    /// Whether a newer binary may read it.
    #[must_use]
    pub fn is_unknown_version(&self) -> bool {
        matches!(self, Self::UnknownVersion { .. })
    }
}

/// Reads the payload of a user's event.
///
/// # Errors
/// [`DecodeError`] when the type or version is not known, or the payload has another shape.
pub fn decode(event_type: &str, version: i32, payload: &str) -> Result<UserEvent, DecodeError> {
    match (event_type, version) {
        ("UserRegistered", 1) => read(event_type, version, payload).map(UserEvent::UserRegistered),
        ("UserProfileUpdated", 1) => {
            read(event_type, version, payload).map(UserEvent::UserProfileUpdated)
        }
        ("UserEmailChanged", 1) => {
            read(event_type, version, payload).map(UserEvent::UserEmailChanged)
        }
        ("UserDeactivated", 1) => {
            read(event_type, version, payload).map(UserEvent::UserDeactivated)
        }
        ("UserReactivated", 1) => {
            read(event_type, version, payload).map(UserEvent::UserReactivated)
        }
        ("UserActivityRecorded", 1) => {
            read(event_type, version, payload).map(UserEvent::UserActivityRecorded)
        }
        _ => Err(DecodeError::UnknownVersion {
            event_type: event_type.to_owned(),
            version,
        }),
    }
}

fn read<T: DeserializeOwned>(
    event_type: &str,
    version: i32,
    payload: &str,
) -> Result<T, DecodeError> {
    serde_json::from_str(payload).map_err(|error| DecodeError::Malformed {
        event_type: event_type.to_owned(),
        version,
        line: error.line(),
        column: error.column(),
    })
}

/// The JSON Schema of every stored type and version; personal fields carry `x-personal`.
#[must_use]
pub fn schemas() -> Vec<(&'static str, i32, Schema)> {
    fn of<T: JsonSchema>(event_type: &'static str, version: i32) -> (&'static str, i32, Schema) {
        (event_type, version, schema_for!(T))
    }
    vec![
        of::<UserRegistered>("UserRegistered", 1),
        of::<UserProfileUpdated>("UserProfileUpdated", 1),
        of::<UserEmailChanged>("UserEmailChanged", 1),
        of::<UserDeactivated>("UserDeactivated", 1),
        of::<UserReactivated>("UserReactivated", 1),
        of::<UserActivityRecorded>("UserActivityRecorded", 1),
    ]
}
