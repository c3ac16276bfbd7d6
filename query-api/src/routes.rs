//! The routes: the whole API at a glance. Who may use which stands in [`crate::access`].

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{limits, user, users};

/// Mounts every route: one resource a pattern, so that another method on it is 405 and not 404.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config.map(|config| {
        config
            .service(web::resource(user::PATH).route(web::get().to(user::get)))
            .service(web::resource(users::PATH).route(web::get().to(users::get)))
            .service(web::resource(limits::PATH).route(web::get().to(limits::get)))
    });
}
