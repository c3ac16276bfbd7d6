//! Who may use a route, and for whom. Each route says so itself, for every role; what it does not
//! grant is refused.

use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use events::{Role, Scope, TenantId};
use platform::auth::{self, Claims};
use platform::http::{HttpCode, Problem};
use uuid::Uuid;

/// Whom a role may act for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Nobody: the role may not use the route.
    Nobody,
    /// The one whose id is the token's `sub`.
    Itself,
    /// Anyone of its tenant.
    Anyone,
}

/// One row of the table role × route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) user: For,
    pub(crate) operator: For,
    pub(crate) admin: For,
}

impl Access {
    fn of(self, role: Role) -> For {
        match role {
            Role::User => self.user,
            Role::Operator => self.operator,
            Role::Admin => self.admin,
        }
    }

    /// Refuses a role that may not use the route at all.
    pub(crate) fn admit(self, scope: &Scope) -> Result<(), Problem> {
        match self.of(scope.role) {
            For::Nobody => Err(forbidden("this role may not use this route")),
            For::Itself | For::Anyone => Ok(()),
        }
    }

    /// Refuses a principal that may not act for the user `id`.
    pub(crate) fn permit(self, scope: &Scope, id: Uuid) -> Result<(), Problem> {
        match self.of(scope.role) {
            For::Anyone => Ok(()),
            For::Itself if scope.principal == id.to_string() => Ok(()),
            For::Itself => Err(forbidden("a user acts for itself only")),
            For::Nobody => self.admit(scope),
        }
    }
}

/// The scope of verified claims; the tenant comes from the token and from nowhere else. A `sub`
/// that is a UUID is taken in its canonical spelling, as ids are.
pub(crate) fn scope(claims: Claims) -> Result<Scope, Problem> {
    let tenant = TenantId::parse(&claims.tenant).map_err(|_| {
        Problem::new(HttpCode::TokenInvalid)
            .detail("the token's `tenant` is not a tenant id")
            .header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer error=\"invalid_token\""),
            )
    })?;
    let role = match claims.role {
        auth::Role::User => Role::User,
        auth::Role::Operator => Role::Operator,
        auth::Role::Admin => Role::Admin,
    };
    let mut principal = claims.sub;
    if principal.len() == 36 && Uuid::try_parse(&principal).is_ok() {
        principal.make_ascii_lowercase();
    }
    Ok(Scope {
        tenant,
        principal,
        role,
    })
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::new(HttpCode::Forbidden).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(sub: &str, tenant: &str) -> Claims {
        Claims {
            tenant: tenant.to_owned(),
            sub: sub.to_owned(),
            role: auth::Role::User,
        }
    }

    #[test]
    fn a_sub_is_compared_in_its_canonical_spelling() {
        let id = "018F3C2E-0000-7000-8000-00000000000A";
        let scope = scope(claims(id, "acme")).expect("a scope");
        assert_eq!(scope.principal, id.to_lowercase());
        let own = Access {
            user: For::Itself,
            operator: For::Nobody,
            admin: For::Nobody,
        };
        assert!(own.permit(&scope, id.parse().expect("an id")).is_ok());
        assert!(own.permit(&scope, Uuid::nil()).is_err());
    }

    #[test]
    fn a_token_of_a_malformed_tenant_is_not_accepted() {
        let problem = scope(claims("me", "Acme/x")).expect_err("no tenant");
        assert_eq!(
            (problem.status().as_u16(), problem.code()),
            (401, "token_invalid")
        );
    }
}
