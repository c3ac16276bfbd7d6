//! The table of routes: the whole API at a glance. A new command is one line here.

use actix_web::web::{self, ServiceConfig};

use crate::access::{Access, For};
use crate::handler;
use crate::openapi::{self, Document};
use crate::request::Request;
use crate::requests::{
    ChangeEmailRequest, DeactivateRequest, ReactivateRequest, RecordActivityRequest,
    RegisterUserRequest, UpdateProfileRequest,
};

/// A user acts for itself, an admin for anyone, an operator only reads.
const WRITE: Access = Access {
    user: For::Itself,
    operator: For::Nobody,
    admin: For::Anyone,
};

/// Every route with a command behind it, and who may use it.
pub(crate) const ROUTES: [Route; 6] = [
    command::<RegisterUserRequest>(WRITE),
    command::<UpdateProfileRequest>(WRITE),
    command::<ChangeEmailRequest>(WRITE),
    command::<DeactivateRequest>(WRITE),
    command::<ReactivateRequest>(WRITE),
    command::<RecordActivityRequest>(WRITE),
];

/// A route and what is behind it.
pub(crate) struct Route {
    /// Method and pattern, such as `PATCH /v1/users/{id}`.
    pub(crate) route: &'static str,
    /// Whom each role may act for.
    pub(crate) access: Access,
    /// The command's name in metrics.
    pub(crate) command: &'static str,
    mount: fn(Access) -> actix_web::Route,
    pub(crate) describe: fn(&mut Document),
}

const fn command<R: Request>(access: Access) -> Route {
    Route {
        route: R::ROUTE,
        access,
        command: <R::Command as domain::Command>::NAME,
        mount: handler::route::<R>,
        describe: openapi::describe::<R>,
    }
}

impl Route {
    pub(crate) fn path(&self) -> &'static str {
        self.route
            .split_once(' ')
            .expect("a route is a method and a pattern")
            .1
    }
}

/// Mounts every route: one resource a pattern, so that another method on it is 405 and not 404.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let mut patterns: Vec<&'static str> = ROUTES.iter().map(Route::path).collect();
    patterns.sort_unstable();
    patterns.dedup();
    for pattern in patterns {
        let routes = ROUTES.iter().filter(|route| route.path() == pattern);
        let resource = routes.fold(web::resource(pattern), |resource, route| {
            resource.route((route.mount)(route.access))
        });
        config.service(resource);
    }
    config.route(crate::limits::PATH, web::get().to(crate::limits::get));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_there_once_and_grants_what_the_table_says() {
        let table: Vec<_> = ROUTES
            .iter()
            .map(
                |Route {
                     route,
                     access:
                         Access {
                             user,
                             operator,
                             admin,
                         },
                     ..
                 }| {
                    format!("{route}: user {user:?}, operator {operator:?}, admin {admin:?}")
                },
            )
            .collect();
        let grants = "user Itself, operator Nobody, admin Anyone";
        let expected = [
            "POST /v1/users",
            "PATCH /v1/users/{id}",
            "PUT /v1/users/{id}/email",
            "POST /v1/users/{id}/deactivate",
            "POST /v1/users/{id}/reactivate",
            "POST /v1/users/{id}/activity",
        ];
        assert_eq!(table, expected.map(|route| format!("{route}: {grants}")));
    }
}
