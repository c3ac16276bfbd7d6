//! Who may read what: the table role × route, declared once and asked by the handlers. What it does
//! not grant is refused.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use events::{Role, Scope, TenantId};
use platform::auth::{self, Claims};
use platform::http::{HttpCode, Problem};
use std::future::{Ready, ready};
use uuid::Uuid;

/// What one role reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nothing: the role may not use the route.
    Nothing,
    /// Itself whole, others without their private fields.
    Public,
    /// Everything of its tenant.
    Everything,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Method and pattern, and the parameter that tells routes of one pattern apart.
    pub(crate) route: &'static str,
    pub(crate) user: Reads,
    pub(crate) operator: Reads,
    pub(crate) admin: Reads,
}

const fn for_all(route: &'static str) -> Access {
    let (user, operator, admin) = (Reads::Public, Reads::Everything, Reads::Everything);
    Access {
        route,
        user,
        operator,
        admin,
    }
}

const fn for_staff(route: &'static str) -> Access {
    let (user, operator, admin) = (Reads::Nothing, Reads::Everything, Reads::Everything);
    Access {
        route,
        user,
        operator,
        admin,
    }
}

pub(crate) const USER: Access = for_all("GET /v1/users/{id}");
pub(crate) const USERS_BY_ID: Access = for_all("GET /v1/users?ids");
pub(crate) const USERS_BY_REGION: Access = for_staff("GET /v1/users?region");
pub(crate) const USERS_BY_EMAIL: Access = for_staff("GET /v1/users?email");
pub(crate) const USERS: Access = for_staff("GET /v1/users");

impl Access {
    /// Refuses a role that may not use the route.
    pub(crate) fn admit(self, scope: &Scope) -> Result<(), Problem> {
        let reads = match scope.role {
            Role::User => self.user,
            Role::Operator => self.operator,
            Role::Admin => self.admin,
        };
        match reads {
            Reads::Public | Reads::Everything => Ok(()),
            Reads::Nothing => Err(Problem::new(HttpCode::Forbidden)
                .detail("lists of users are for operators and admins")),
        }
    }
}

/// Who asks, from a verified token; without one no handler that takes it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Scope);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let claims = Claims::from_request(request, payload).into_inner();
        ready(claims.and_then(scope).map(Self))
    }
}

/// The tenant comes from the token and from nowhere else; a `sub` that is a UUID is taken in its
/// canonical spelling, as ids are.
fn scope(claims: Claims) -> Result<Scope, Problem> {
    let tenant = TenantId::try_from(claims.tenant).map_err(|_| {
        Problem::new(HttpCode::TokenInvalid).detail("the token's `tenant` is not a tenant id")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_for_operators_and_admins_and_single_users_for_all() {
        let table: Vec<_> = [USER, USERS_BY_ID, USERS_BY_REGION, USERS_BY_EMAIL, USERS]
            .iter()
            .map(
                |Access {
                     route,
                     user,
                     operator,
                     admin,
                 }| {
                    format!("{route}: user {user:?}, operator {operator:?}, admin {admin:?}")
                },
            )
            .collect();
        let all = "user Public, operator Everything, admin Everything";
        let staff = "user Nothing, operator Everything, admin Everything";
        assert_eq!(
            table,
            [
                format!("GET /v1/users/{{id}}: {all}"),
                format!("GET /v1/users?ids: {all}"),
                format!("GET /v1/users?region: {staff}"),
                format!("GET /v1/users?email: {staff}"),
                format!("GET /v1/users: {staff}"),
            ]
        );
    }

    #[test]
    fn a_sub_is_compared_in_its_canonical_spelling() {
        let scope_of = |sub: &str| {
            let claims = Claims {
                tenant: "acme".to_owned(),
                sub: sub.to_owned(),
                role: auth::Role::User,
            };
            scope(claims).expect("a scope").principal
        };
        let id = "018F3C2E-0000-7000-8000-00000000000A";
        assert_eq!(scope_of(id), id.to_lowercase());
        assert_eq!(
            scope_of("Billing"),
            "Billing",
            "a service's name is its own"
        );
    }

    #[test]
    fn a_token_of_a_malformed_tenant_is_not_accepted() {
        let claims = Claims {
            tenant: "A/b".to_owned(),
            sub: "me".to_owned(),
            role: auth::Role::Admin,
        };
        let problem = scope(claims).expect_err("no tenant");
        assert_eq!(
            (problem.status().as_u16(), problem.code()),
            (401, "token_invalid")
        );
    }
}
