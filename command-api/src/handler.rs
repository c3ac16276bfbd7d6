//! The one handler behind every command's route: who asks, what for, may they, and then the command
//! in its own task.

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::IF_MATCH;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use event_store::entry::OutcomeKey;
use events::{Metadata, Scope};
use platform::auth::Claims;
use platform::http::{
    BodyLimits, HttpCode, Problem, RequestContext, StrictJson, idempotency_key, if_match,
    parse_json, read_body,
};
use uuid::Uuid;

use crate::access::{self, Access};
use crate::idempotency::RequestParts;
use crate::request::{Addressed, Arrival, BodyForm, Request};
use crate::run::{self, Invocation, Key};
use crate::service::Service;

/// The actix route of a request, with what each role may do on it.
pub(crate) fn route<R: Request>(access: Access) -> actix_web::Route {
    let (method, _) = R::ROUTE
        .split_once(' ')
        .expect("a route is a method and a pattern");
    let method = Method::from_bytes(method.as_bytes()).expect("routes name HTTP methods");
    web::method(method).to(
        move |request: HttpRequest,
              payload: web::Payload,
              claims: Claims,
              context: RequestContext,
              service: web::Data<Service>| async move {
            let scope = access::scope(claims)?;
            let asked = Asked {
                request: &request,
                scope,
                access,
                context,
            };
            handle::<R>(&service, asked, payload.into_inner()).await
        },
    )
}

/// A request whose sender is known.
struct Asked<'r> {
    request: &'r HttpRequest,
    scope: Scope,
    access: Access,
    context: RequestContext,
}

async fn handle<R: Request>(
    service: &Service,
    asked: Asked<'_>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let Asked {
        request,
        scope,
        access,
        context,
    } = asked;
    access.admit(&scope)?;
    let path_id = path_id(request)?;
    if let Some(id) = path_id {
        access.permit(&scope, id)?;
    }
    let headers = request.headers();
    let (key, if_match) = (idempotency_key(headers)?, if_match(headers)?);
    let (body, raw) = body::<R>(request, payload).await?;
    let arrival = Arrival {
        scope: &scope,
        path_id,
        email_keys: service.email_keys(),
    };
    let Addressed {
        id,
        presence,
        command,
    } = body.address(&arrival)?;
    access.permit(&scope, id)?;
    let key = key.map(|key| Key {
        key: OutcomeKey {
            principal: scope.principal.clone(),
            route: R::ROUTE,
            key,
        },
        fingerprint: fingerprint(service, request, &raw),
    });
    let metadata = Metadata {
        request_id: Some(context.request_id.to_string()),
        traceparent: context.traceparent.as_deref().map(str::to_owned),
        principal: Some(scope.principal.clone()),
    };
    let success = R::SUCCESS;
    let invocation = Invocation {
        scope,
        id,
        presence,
        command,
        if_match,
        metadata,
        key,
        success,
    };
    run::run::<R::Aggregate, R::Command>(service, invocation)
        .await?
        .respond(R::COLLECTION)
}

/// The id of the path, in its one spelling of 36 characters.
fn path_id(request: &HttpRequest) -> Result<Option<Uuid>, Problem> {
    let Some(text) = request.match_info().get("id") else {
        return Ok(None);
    };
    let id = (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten();
    let wrong =
        || Problem::new(HttpCode::InvalidParameter).field("id", "must be a UUID of 36 characters");
    id.map(Some).ok_or_else(wrong)
}

async fn body<R: Request>(
    request: &HttpRequest,
    mut payload: Payload,
) -> Result<(R, Bytes), Problem> {
    match R::BODY {
        BodyForm::Json | BodyForm::MergePatch => {
            let StrictJson { value, raw } = StrictJson::from_request(request, &mut payload).await?;
            Ok((value, raw))
        }
        BodyForm::Empty => {
            let raw = read_body(payload, &BodyLimits::of(request)).await?;
            let value = if raw.trim_ascii().is_empty() {
                serde_json::Value::Object(serde_json::Map::new())
            } else {
                parse_json(&raw)?
            };
            Ok((R::from_value(value)?, raw))
        }
    }
}

fn fingerprint(service: &Service, request: &HttpRequest, body: &[u8]) -> [u8; 32] {
    service.fingerprints().of(&RequestParts {
        method: request.method().as_str(),
        path: request.path(),
        query: request.query_string(),
        if_match: request
            .headers()
            .get(IF_MATCH)
            .map(|value| value.as_bytes()),
        body,
    })
}
