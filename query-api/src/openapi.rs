//! The OpenAPI 3.1 document of the routes.

use platform::build_info::BuildInfo;
use platform::http::{HttpCode, PROBLEM_JSON, ProblemBody, ProblemCode};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;
use utoipa::{PartialSchema as _, ToSchema};

use crate::code::QueryCode;
use crate::limits::{IDS_MAX, LIST_DEFAULT, LIST_MAX, Limits};
use read_model::user_view::fields::Field;

const DESCRIPTION: &str = "\
Reads of Runnel. Every answer carries `Consistency-Token`: the position that it is true as of. A read that sends one back \
(from an earlier read, or from a command) shows at least that state: it waits for it, at most `Prefer: wait=` milliseconds, \
and is 503 past that; `Prefer: handling=lenient` gets an older answer instead, marked by `Runnel-Stale`. An answer can be \
one second old (`/v1/limits`). Errors are `application/problem+json` (RFC 9457); match on `code`.";

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Runnel queries",
            "version": BuildInfo::of_platform().version,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": {
            crate::user::PATH: { "get": user() },
            crate::users::PATH: { "get": users() },
            crate::limits::PATH: { "get": limits() },
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
        },
        "security": [{ "token": [] }],
    });
    serde_json::from_value(document).expect("the document is OpenAPI; a test makes it")
}

fn user() -> Value {
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": uuid() });
    let mut parameters = vec![id, fields()];
    parameters.extend(headers());
    json!({
        "operationId": "GetUser",
        "summary": "One user. A `user` reads others without `email` and `last_active`.",
        "parameters": parameters,
        "responses": responses(
            json!({ "$ref": "#/components/schemas/UserView" }),
            "`\"v7.3\"`: the stream's version, for If-Match, and the generation of the rows; after a \
             fork of the store with its incarnation, as `\"v7.3.i2\"`. Equal tags are of one history.",
            &[&QueryCode::UserNotFound],
        ),
    })
}

fn users() -> Value {
    let text = json!({ "type": "string" });
    let time = json!({ "type": "string", "format": "date-time" });
    let limit =
        json!({ "type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": LIST_DEFAULT });
    let ids = format!("These users, in this order: at most {IDS_MAX} ids joined by commas.");
    let mut parameters = vec![
        query("ids", &ids, &text),
        fields(),
        query(
            "region",
            "Users of this region, the latest active first (operator, admin).",
            &text,
        ),
        query(
            "active_since",
            "With `region`: active at this time or later.",
            &time,
        ),
        query(
            "email",
            "The user with this address (operator, admin).",
            &text,
        ),
        query("limit", "Items of a page.", &limit),
        query("older", "The `older` of the page before.", &text),
    ];
    parameters.extend(headers());
    let body = json!({ "oneOf": [
        { "$ref": "#/components/schemas/UserPage" },
        { "$ref": "#/components/schemas/UserBatch" },
    ] });
    json!({
        "operationId": "ListUsers",
        "summary": "Users by `ids`, by `region`, by `email`, or without any of them the whole \
                    tenant by id (operator, admin).",
        "parameters": parameters,
        "responses": responses(body, "The hash of the body.", &[&QueryCode::CursorInvalid]),
    })
}

fn limits() -> Value {
    let content =
        json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Limits" } } });
    json!({
        "operationId": "GetLimits",
        "summary": "Every bound of reads.",
        "security": [],
        "responses": { "200": { "description": "The bounds.", "content": content } },
    })
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

fn fields() -> Value {
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    let description = format!("Only these, joined by commas: {}.", names.join(", "));
    query("fields", &description, &json!({ "type": "string" }))
}

fn headers() -> Vec<Value> {
    let header = |name: &str, description: &str| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
    };
    vec![
        header("Consistency-Token", "Show at least this state."),
        header("Prefer", "`wait=500` (milliseconds), `handling=lenient`."),
        header(
            "If-None-Match",
            "The ETag of what the client has: 304 when it is still so.",
        ),
    ]
}

fn responses(body: Value, etag: &str, own: &[&dyn ProblemCode]) -> Value {
    let header =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let headers = json!({
        "ETag": header(etag),
        "Consistency-Token": header("What the answer is true as of."),
        "Runnel-Stale": header("Why it may be older: `store_down`, `parked`, `not_caught_up`."),
    });
    let mut responses = problems(own);
    responses.insert(
        "200".to_owned(),
        json!({ "description": "Found.", "headers": headers, "content": { "application/json": { "schema": body } } }),
    );
    let unchanged = json!({ "description": "The client has it already.", "headers": headers });
    responses.insert("304".to_owned(), unchanged);
    responses.into()
}

/// One response a status, naming every code that comes with it.
fn problems(own: &[&dyn ProblemCode]) -> Map<String, Value> {
    let http = [
        HttpCode::BadRequest,
        HttpCode::InvalidHeader,
        HttpCode::InvalidParameter,
        HttpCode::TokenMissing,
        HttpCode::TokenInvalid,
        HttpCode::Forbidden,
        HttpCode::RateLimited,
        HttpCode::Internal,
        HttpCode::DeadlineExceeded,
        HttpCode::KeysUnavailable,
    ];
    let shared = [
        QueryCode::TokenUnknown,
        QueryCode::WriteLost,
        QueryCode::NotCaughtUp,
        QueryCode::Filling,
        QueryCode::ProjectionParked,
        QueryCode::StoreDown,
    ];
    let codes = http.iter().map(|code| code as &dyn ProblemCode);
    let codes = codes.chain(shared.iter().map(|code| code as &dyn ProblemCode));
    let mut lines: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for code in codes.chain(own.iter().copied()) {
        let line = format!("`{}`: {}", code.code(), code.title());
        lines
            .entry(code.status().as_u16().to_string())
            .or_default()
            .push(line);
    }
    let schema = json!({ "$ref": "#/components/schemas/ProblemBody" });
    let response = |lines: Vec<String>| {
        let content = json!({ PROBLEM_JSON: { "schema": schema } });
        json!({ "description": lines.join("\n\n"), "content": content })
    };
    lines
        .into_iter()
        .map(|(status, lines)| (status, response(lines)))
        .collect()
}

fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut named = Vec::new();
    ProblemBody::<'static>::schemas(&mut named);
    Limits::schemas(&mut named);
    named.push((
        ProblemBody::<'static>::name().into_owned(),
        ProblemBody::<'static>::schema(),
    ));
    named.push((Limits::name().into_owned(), Limits::schema()));
    for (name, schema) in named {
        schemas.insert(name, json!(schema));
    }
    let items = json!({ "type": "array", "items": { "$ref": "#/components/schemas/UserView" } });
    schemas.insert("UserView".to_owned(), user_view());
    schemas.insert(
        "UserPage".to_owned(),
        json!({
            "type": "object",
            "required": ["items", "older"],
            "properties": {
                "items": items,
                "older": { "type": ["string", "null"], "description": "Null at the end." },
            },
        }),
    );
    let missing = json!({
        "type": "object",
        "required": ["id", "code"],
        "properties": { "id": uuid(), "code": { "type": "string", "const": "user_not_found" } },
    });
    schemas.insert(
        "UserBatch".to_owned(),
        json!({
            "type": "object",
            "required": ["items", "missing"],
            "properties": { "items": items, "missing": { "type": "array", "items": missing } },
        }),
    );
    schemas
}

/// Every field of the view; a test compares the names with those that are served.
fn user_view() -> Value {
    let field = |field: &Field| {
        let schema = match field {
            Field::Id => uuid(),
            Field::Email | Field::Name | Field::Bio | Field::DisplayName | Field::AvatarUrl => {
                json!({ "type": ["string", "null"] })
            }
            Field::Region => json!({ "type": "string" }),
            Field::Status => json!({ "type": "string", "enum": ["active", "deactivated"] }),
            Field::Version => json!({ "type": "integer", "format": "int64" }),
            Field::CreatedAt | Field::LastActive => {
                json!({ "type": "string", "format": "date-time" })
            }
        };
        (field.name().to_owned(), schema)
    };
    let properties: Map<String, Value> = Field::ALL.iter().map(field).collect();
    json!({ "type": "object", "required": ["id"], "properties": properties })
}

fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}
