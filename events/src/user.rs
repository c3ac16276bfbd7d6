//! The events of a user. Their JSON is never edited: a new shape is a new version plus an upcaster
//! in [`crate::catalog`].

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::personal::Personal;
use crate::user_fields::EmailKey;

/// Everything that can have happened to a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserEvent {
    /// A user came to be.
    UserRegistered(UserRegistered),
    /// Some of the profile changed.
    UserProfileUpdated(UserProfileUpdated),
    /// The e-mail address changed.
    UserEmailChanged(UserEmailChanged),
    /// The user was deactivated.
    UserDeactivated(UserDeactivated),
    /// The user was reactivated.
    UserReactivated(UserReactivated),
    /// The user did something; at most one every five minutes.
    UserActivityRecorded(UserActivityRecorded),
}

/// A user came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRegistered {
    /// The user.
    pub user_id: Uuid,
    /// The address as the user wrote it.
    pub email: Personal<String>,
    /// What the address is unique by.
    pub email_key: EmailKey,
    /// The name as the user wrote it.
    pub name: Personal<String>,
    /// The region, such as `eu-west`.
    pub region: String,
    /// A few words about the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<Personal<String>>,
    /// An https URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<Personal<String>>,
    /// When the command was decided.
    pub registered_at: DateTime<Utc>,
}

/// Some of the profile changed: a field that is absent was kept, one that is null was cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserProfileUpdated {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<String>>,
    /// The new region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The new words about the user, or none.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schemars(with = "Option<Personal<String>>")]
    pub bio: Patch<Personal<String>>,
    /// The new avatar, or none.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schemars(with = "Option<Personal<String>>")]
    pub avatar_url: Patch<Personal<String>>,
    /// When the command was decided.
    pub updated_at: DateTime<Utc>,
}

/// The e-mail address changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserEmailChanged {
    /// The new address.
    pub email: Personal<String>,
    /// What the new address is unique by.
    pub email_key: EmailKey,
    /// When the command was decided.
    pub changed_at: DateTime<Utc>,
}

/// The user was deactivated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserDeactivated {
    /// When the command was decided.
    pub deactivated_at: DateTime<Utc>,
}

/// The user was reactivated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserReactivated {
    /// When the command was decided.
    pub reactivated_at: DateTime<Utc>,
}

/// The user did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserActivityRecorded {
    /// When the command was decided.
    pub active_at: DateTime<Utc>,
}

impl UserEvent {
    /// The event's type, as it is stored.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::UserRegistered(_) => "UserRegistered",
            Self::UserProfileUpdated(_) => "UserProfileUpdated",
            Self::UserEmailChanged(_) => "UserEmailChanged",
            Self::UserDeactivated(_) => "UserDeactivated",
            Self::UserReactivated(_) => "UserReactivated",
            Self::UserActivityRecorded(_) => "UserActivityRecorded",
        }
    }

    /// The version of the payload's shape that this binary writes.
    #[must_use]
    pub fn version(&self) -> i32 {
        1
    }

    /// The payload alone, without the type's name around it: what is stored and what Kafka carries.
    ///
    /// # Errors
    /// When a field cannot be written as JSON, which none of today's can.
    pub fn payload(&self) -> serde_json::Result<Box<serde_json::value::RawValue>> {
        match self {
            Self::UserRegistered(event) => serde_json::value::to_raw_value(event),
            Self::UserProfileUpdated(event) => serde_json::value::to_raw_value(event),
            Self::UserEmailChanged(event) => serde_json::value::to_raw_value(event),
            Self::UserDeactivated(event) => serde_json::value::to_raw_value(event),
            Self::UserReactivated(event) => serde_json::value::to_raw_value(event),
            Self::UserActivityRecorded(event) => serde_json::value::to_raw_value(event),
        }
    }
}

impl DomainEvent for UserEvent {
    fn event_type(&self) -> String {
        self.type_name().to_owned()
    }

    fn event_version(&self) -> String {
        self.version().to_string()
    }
}

/// What a merge patch says of a field that can be cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The field was not named.
    #[default]
    Keep,
    /// The field was null.
    Clear,
    /// The field has a new value.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether the field was not named.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The same patch of another type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(f(value)),
        }
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}
