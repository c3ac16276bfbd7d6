//! The OpenAPI 3.1 document, made from the same table of routes and the same request descriptions
//! that the handlers run by.

use std::collections::BTreeMap;

use platform::build_info::BuildInfo;
use platform::http::{HttpCode, IDEMPOTENCY_KEY_MAX, PROBLEM_JSON, ProblemBody, ProblemCode};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

use crate::code::CommandCode;
use crate::limits::{self, Limits};
use crate::reply::Done;
use crate::request::{BodyForm, Request};
use crate::routes::ROUTES;

const DESCRIPTION: &str = "\
Commands of Runnel. Every mutating route takes an `Idempotency-Key`: the same key with the same \
request gets the same answer, marked `Idempotency-Replayed: true`. `Consistency-Token` of an \
answer, sent with a read, makes the read show the command's effect. Errors are \
`application/problem+json` (RFC 9457); match on `code`.";

/// What any command can be answered with by the HTTP layer.
const HTTP_CODES: [HttpCode; 14] = [
    HttpCode::BadRequest,
    HttpCode::InvalidHeader,
    HttpCode::InvalidJson,
    HttpCode::WrongType,
    HttpCode::InvalidFields,
    HttpCode::TokenMissing,
    HttpCode::TokenInvalid,
    HttpCode::Forbidden,
    HttpCode::BodyTooLarge,
    HttpCode::BodyTooSlow,
    HttpCode::RateLimited,
    HttpCode::Internal,
    HttpCode::KeysUnavailable,
    HttpCode::Unavailable,
];

/// What any command can be answered with by this API.
const COMMAND_CODES: [CommandCode; 5] = [
    CommandCode::RequestInFlight,
    CommandCode::VersionMismatch,
    CommandCode::KeyReused,
    CommandCode::QueueFull,
    CommandCode::OutcomeUnknown,
];

/// The document while it is made.
#[derive(Default)]
pub(crate) struct Document {
    paths: BTreeMap<&'static str, Map<String, Value>>,
    schemas: Map<String, Value>,
}

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let mut document = Document::default();
    for route in &ROUTES {
        (route.describe)(&mut document);
    }
    document.schema::<ProblemBody<'static>>();
    document.schema::<Done<'static>>();
    document.schema::<Limits>();
    document
        .paths
        .entry(limits::PATH)
        .or_default()
        .insert("get".to_owned(), limits_operation());
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Runnel commands",
            "version": BuildInfo::of_platform().version,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": document.paths,
        "components": {
            "schemas": document.schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
        },
        "security": [{ "token": [] }],
    });
    serde_json::from_value(document).expect("the document is OpenAPI; a test makes it")
}

/// Adds a command's route.
pub(crate) fn describe<R: Request>(document: &mut Document) {
    let (method, path) = R::ROUTE
        .split_once(' ')
        .expect("a route is a method and a pattern");
    let mut operation = json!({
        "operationId": <R::Command as domain::Command>::NAME,
        "summary": R::SUMMARY,
        "parameters": parameters(path),
        "responses": responses::<R>(path),
    });
    if let Some(media_type) = media_type(R::BODY) {
        document.schema::<R>();
        operation["requestBody"] = json!({
            "required": true,
            "content": { media_type: { "schema": reference::<R>() } },
        });
    }
    let operations = document.paths.entry(path).or_default();
    operations.insert(method.to_ascii_lowercase(), operation);
}

impl Document {
    fn schema<T: ToSchema>(&mut self) {
        let mut inner = vec![];
        T::schemas(&mut inner);
        for (name, schema) in inner
            .into_iter()
            .chain([(T::name().into_owned(), T::schema())])
        {
            self.schemas.insert(name, json!(schema));
        }
    }
}

fn media_type(body: BodyForm) -> Option<&'static str> {
    match body {
        BodyForm::Empty => None,
        BodyForm::Json => Some("application/json"),
        BodyForm::MergePatch => Some("application/merge-patch+json"),
    }
}

fn reference<T: ToSchema>() -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

fn parameters(path: &str) -> Vec<Value> {
    let header = |name, description, schema| {
        json!({
            "name": name,
            "in": "header",
            "required": false,
            "description": description,
            "schema": schema,
        })
    };
    let id = path.contains("{id}").then(|| {
        let schema = json!({ "type": "string", "format": "uuid" });
        json!({ "name": "id", "in": "path", "required": true, "schema": schema })
    });
    let own = [
        header(
            "Idempotency-Key",
            "Makes a repeated request get the first one's answer.",
            json!({ "type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_MAX }),
        ),
        header(
            "If-Match",
            "The version that must be there: an ETag as we gave it, or `*`.",
            json!({ "type": "string", "example": "\"v7\"" }),
        ),
    ];
    id.into_iter().chain(own).collect()
}

fn responses<R: Request>(path: &str) -> BTreeMap<String, Value> {
    let mut codes: Vec<&dyn ProblemCode> = vec![];
    codes.extend(HTTP_CODES.iter().map(|code| code as &dyn ProblemCode));
    if path.contains("{id}") {
        codes.push(&HttpCode::InvalidParameter);
    }
    if R::BODY != BodyForm::Empty {
        codes.push(&HttpCode::UnsupportedMediaType);
    }
    codes.extend(
        COMMAND_CODES
            .iter()
            .chain(R::REFUSALS)
            .map(|code| code as &dyn ProblemCode),
    );
    let mut responses = problems(&codes);
    responses.insert(R::SUCCESS.to_string(), success());
    responses
}

fn success() -> Value {
    let header = |description, example: &str| {
        let schema = json!({ "type": "string", "example": example });
        json!({ "description": description, "schema": schema })
    };
    json!({
        "description": "Done, or already as asked.",
        "headers": {
            "ETag": header(
                "The version, for If-Match; after a fork of the store with its incarnation, as \
                 `\"v7.i2\"`. Tags are opaque: equal ones are of one history.",
                "\"v7\"",
            ),
            "Consistency-Token": header("Send it with a read that must show this.", "1.3.1042"),
            "Location": header(
                "Where the changed resource lies.",
                "/v1/users/018f3c2e-0000-7000-8000-000000000001",
            ),
            "Idempotency-Replayed": header("`true` when the answer was given before.", "true"),
        },
        "content": { "application/json": { "schema": reference::<Done<'static>>() } },
    })
}

/// One response a status, naming every code that comes with it.
fn problems(codes: &[&dyn ProblemCode]) -> BTreeMap<String, Value> {
    let mut by_status: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for code in codes {
        let line = format!("`{}`: {}", code.code(), code.title());
        by_status
            .entry(code.status().as_u16().to_string())
            .or_default()
            .push(line);
    }
    let response = |lines: Vec<String>| {
        json!({
            "description": lines.join("\n\n"),
            "content": { PROBLEM_JSON: { "schema": reference::<ProblemBody<'static>>() } },
        })
    };
    by_status
        .into_iter()
        .map(|(status, lines)| (status, response(lines)))
        .collect()
}

fn limits_operation() -> Value {
    json!({
        "operationId": "GetLimits",
        "summary": "Every bound that a client can meet.",
        "security": [],
        "responses": {
            "200": {
                "description": "The bounds.",
                "content": { "application/json": { "schema": reference::<Limits>() } },
            },
        },
    })
}
