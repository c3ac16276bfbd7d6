//! Builds the server of an API: its routes, the stack around them and every limit.

use std::net::TcpListener;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use actix_web::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION,
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use actix_web::middleware::{Compress, Condition};
use actix_web::{App, HttpServer, web};
use utoipa::openapi::OpenApi;
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use super::connection;
use super::gate::Gate;
use super::{HttpStack, mount_docs};

/// How long browsers remember what CORS allows.
const CORS_MAX_AGE_SECONDS: usize = 3600;
/// How long a connection that we close is still read from, so that the client sees our answer
/// before the reset that its unread bytes would cause.
const LINGER: Duration = Duration::from_secs(1);
/// Connections that the kernel holds for us while all workers are full.
const BACKLOG: i32 = 1024;

/// Headers of answers that pages may read.
const EXPOSED: [&str; 9] = [
    "etag",
    "location",
    "consistency-token",
    "idempotency-replayed",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "runnel-stale",
    "x-request-id",
];

/// What an API consists of.
#[derive(Clone)]
pub struct Api<R> {
    /// Title, version and the like of `/openapi.json`; the routes add themselves.
    pub openapi: OpenApi,
    /// Adds the routes and their data; called once per worker thread.
    pub routes: R,
}

/// Serves an API on a bound listener. The server stops by its handle only (it listens to no
/// signals): `server.handle().stop(true)` lets running requests finish, for at most `grace`.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve<R>(
    stack: &HttpStack,
    listener: TcpListener,
    workers: usize,
    grace: Duration,
    api: Api<R>,
) -> std::io::Result<Server>
where
    R: Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static,
{
    let settings = &stack.shared.settings;
    connection::set_write_timeout(&listener, settings.write_timeout)?;
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    let keep_alive = match settings.keep_alive {
        Duration::ZERO => KeepAlive::Disabled,
        idle => KeepAlive::Timeout(idle),
    };
    let of_workers = stack.clone();
    let factory = move || {
        let stack = of_workers.clone();
        let origins = &stack.shared.settings.cors_origins;
        let cors = Condition::new(!origins.is_empty(), cors(origins));
        let body_limits = stack.shared.body_limits;
        let (app, openapi) = App::new()
            .into_utoipa_app()
            .openapi(api.openapi.clone())
            .app_data(body_limits)
            .app_data(web::PayloadConfig::new(body_limits.max))
            .configure(api.routes.clone())
            .split_for_parts();
        app.configure(|config| mount_docs(config, openapi))
            .wrap(Compress::default())
            .wrap(cors)
            .wrap(Gate(stack))
    };
    let server = HttpServer::new(factory)
        .workers(workers)
        .disable_signals()
        .max_connections(settings.connections_max)
        .client_request_timeout(settings.head_timeout)
        .client_disconnect_timeout(LINGER)
        .keep_alive(keep_alive)
        .shutdown_timeout(grace.as_secs().max(1))
        .on_connect(connection::opened)
        .listen(listener)?;
    Ok(server.run())
}

/// Lets a page of an allowed origin see an answer that was given before [`cors`] was asked.
pub(super) fn show_to_origin(origin: &HeaderValue, origins: &[String], headers: &mut HeaderMap) {
    if !origins
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes())
    {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Ok(exposed) = HeaderValue::from_str(&EXPOSED.join(", ")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// CORS for the origins in the list and for no others.
fn cors(origins: &[String]) -> Cors {
    let own = |name| HeaderName::from_static(name);
    let allowed = [
        ACCEPT,
        AUTHORIZATION,
        CONTENT_TYPE,
        own("consistency-token"),
        own("idempotency-key"),
        own("if-match"),
        own("if-none-match"),
        own("prefer"),
        own("traceparent"),
        own("x-request-id"),
    ];
    let cors = origins
        .iter()
        .fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
    cors.allowed_methods(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers(allowed)
        .expose_headers(EXPOSED)
        .max_age(CORS_MAX_AGE_SECONDS)
}
