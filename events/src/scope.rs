//! On whose behalf tenant data is touched. Every function of the store and the read model that does
//! so takes a [`Scope`], so authorisation is in the data layer and not only on the route.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tenant: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

/// A text that is no tenant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant is 1 to 63 characters of a-z, 0-9 and -, and does not begin with -")]
pub struct InvalidTenant;

impl TenantId {
    /// Parses a tenant id.
    ///
    /// # Errors
    /// [`InvalidTenant`] when the text has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidTenant> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid =
            (1..=63).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(allowed);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTenant)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenant;

    fn try_from(text: String) -> Result<Self, InvalidTenant> {
        Self::parse(&text)
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0
    }
}

/// What a principal may do; until grants arrive, one word in the access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Acts only for itself.
    User,
    /// Reads everything of its tenant.
    Operator,
    /// Acts for anyone of its tenant.
    Admin,
}

/// On whose behalf: the tenant comes from the verified token and from nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The tenant whose data may be touched.
    pub tenant: TenantId,
    /// Who asks: the token's `sub`, a user id or a service's name.
    pub principal: String,
    /// What the principal may do.
    pub role: Role,
}

impl Scope {
    /// Whether the principal may act for the user `id`: itself, or anyone as admin.
    #[must_use]
    pub fn may_act_for(&self, id: &str) -> bool {
        self.role == Role::Admin || self.principal == id
    }

    /// Whether the principal may see what only the user `id` and the tenant's staff see.
    #[must_use]
    pub fn may_see_private(&self, id: &str) -> bool {
        self.role != Role::User || self.principal == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_the_published_form() {
        for good in ["a", "acme", "0-x", &"a".repeat(63)] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "a_b", "ä", &"a".repeat(64)] {
            assert_eq!(TenantId::parse(bad), Err(InvalidTenant), "{bad}");
        }
    }

    #[test]
    fn a_user_acts_for_itself_an_admin_for_anyone_an_operator_only_reads() {
        let scope = |role| Scope {
            tenant: TenantId::parse("acme").expect("a tenant"),
            principal: "me".to_owned(),
            role,
        };
        assert!(scope(Role::User).may_act_for("me") && !scope(Role::User).may_act_for("you"));
        assert!(scope(Role::Admin).may_act_for("you"));
        assert!(!scope(Role::Operator).may_act_for("you"));
        assert!(scope(Role::Operator).may_see_private("you"));
        assert!(!scope(Role::User).may_see_private("you"));
    }
}
