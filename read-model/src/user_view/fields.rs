//! What is served of a row, and to whom. The policy of the view: a `user` reads others without
//! `email` and `last_active`; itself, and operators and admins of the tenant, read everything.

use chrono::SecondsFormat;
use events::Scope;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::UserRow;

/// A field of the served view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[expect(missing_docs, reason = "the names are those of the served JSON")]
pub enum Field {
    Id = 1,
    Email = 1 << 1,
    Name = 1 << 2,
    Region = 1 << 3,
    Bio = 1 << 4,
    DisplayName = 1 << 5,
    AvatarUrl = 1 << 6,
    Status = 1 << 7,
    Version = 1 << 8,
    CreatedAt = 1 << 9,
    LastActive = 1 << 10,
}

impl Field {
    /// Every field, in the order in which they are served.
    pub const ALL: [Self; 11] = [
        Self::Id,
        Self::Email,
        Self::Name,
        Self::Region,
        Self::Bio,
        Self::DisplayName,
        Self::AvatarUrl,
        Self::Status,
        Self::Version,
        Self::CreatedAt,
        Self::LastActive,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Email => "email",
            Self::Name => "name",
            Self::Region => "region",
            Self::Bio => "bio",
            Self::DisplayName => "display_name",
            Self::AvatarUrl => "avatar_url",
            Self::Status => "status",
            Self::Version => "version",
            Self::CreatedAt => "created_at",
            Self::LastActive => "last_active",
        }
    }
}

/// Some of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldSet(u16);

impl FieldSet {
    /// Every field.
    pub const ALL: Self = Self((1 << Field::ALL.len()) - 1);

    /// What anyone of the tenant may read of another user.
    pub const PUBLIC: Self = Self(Self::ALL.0 & !(Field::Email as u16 | Field::LastActive as u16));

    /// The named fields (comma-separated); `id` is always among them.
    ///
    /// # Errors
    /// The names that are no fields.
    pub fn parse(names: &str) -> Result<Self, Vec<String>> {
        let mut set = Field::Id as u16;
        let mut unknown = Vec::new();
        for name in names.split(',').map(str::trim) {
            match Field::ALL.iter().find(|field| field.name() == name) {
                Some(field) => set |= *field as u16,
                None => unknown.push(name.to_owned()),
            }
        }
        if unknown.is_empty() {
            Ok(Self(set))
        } else {
            Err(unknown)
        }
    }

    /// Those of the fields that `scope` may see of the user `id`.
    #[must_use]
    pub fn visible(self, scope: &Scope, id: Uuid) -> Self {
        let mut text = Uuid::encode_buffer();
        if scope.may_see_private(id.hyphenated().encode_lower(&mut text)) {
            self
        } else {
            Self(self.0 & Self::PUBLIC.0)
        }
    }

    /// Whether the field is among them.
    #[must_use]
    pub fn contains(self, field: Field) -> bool {
        self.0 & field as u16 != 0
    }
}

/// A row with some of its fields, as JSON.
#[derive(Clone, Copy, Debug)]
pub struct Served<'r>(pub &'r UserRow, pub FieldSet);

impl Serialize for Served<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(row, fields) = *self;
        let mut map = serializer.serialize_map(None)?;
        for field in Field::ALL
            .into_iter()
            .filter(|field| fields.contains(*field))
        {
            let name = field.name();
            match field {
                Field::Id => map.serialize_entry(name, &row.id)?,
                Field::Email => map.serialize_entry(name, &row.email)?,
                Field::Name => map.serialize_entry(name, &row.name)?,
                Field::Region => map.serialize_entry(name, &row.region)?,
                Field::Bio => map.serialize_entry(name, &row.bio)?,
                Field::DisplayName => map.serialize_entry(name, &row.display_name)?,
                Field::AvatarUrl => map.serialize_entry(name, &row.avatar_url)?,
                Field::Status => map.serialize_entry(name, row.status.as_str())?,
                Field::Version => map.serialize_entry(name, &row.version)?,
                Field::CreatedAt => map.serialize_entry(name, &instant(row.created_at))?,
                Field::LastActive => map.serialize_entry(name, &instant(row.last_active))?,
            }
        }
        map.end()
    }
}

/// RFC 3339 in UTC with the digits that are needed, as the tables keep them.
fn instant(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use events::{Role, TenantId};

    use super::*;

    fn scope(principal: &str, role: Role) -> Scope {
        Scope {
            tenant: TenantId::parse("acme").expect("a tenant"),
            principal: principal.to_owned(),
            role,
        }
    }

    #[test]
    fn a_user_reads_others_without_address_and_activity_and_itself_whole() {
        let me = Uuid::from_u128(1);
        let you = Uuid::from_u128(2);
        let user = scope(&me.to_string(), Role::User);
        assert_eq!(FieldSet::ALL.visible(&user, me), FieldSet::ALL);
        let seen = FieldSet::ALL.visible(&user, you);
        let hidden = Field::ALL.iter().filter(|field| !seen.contains(**field));
        let hidden: Vec<_> = hidden.map(|field| field.name()).collect();
        assert_eq!(hidden, ["email", "last_active"]);
        for role in [Role::Operator, Role::Admin] {
            assert_eq!(
                FieldSet::ALL.visible(&scope("staff", role), you),
                FieldSet::ALL
            );
        }
    }

    #[test]
    fn every_unknown_field_is_named() {
        assert_eq!(
            FieldSet::parse("id,email,shoe_size,"),
            Err(vec!["shoe_size".to_owned(), String::new()])
        );
        let set = FieldSet::parse("email, region").expect("fields");
        assert!(
            set.contains(Field::Id) && set.contains(Field::Email) && set.contains(Field::Region)
        );
        assert!(!set.contains(Field::Name));
    }
}
