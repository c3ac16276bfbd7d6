//! The HTTP data port: one stack of middleware for every API, errors as problems, strict bodies.

mod body;
mod code;
mod coding;
mod connection;
mod context;
mod deadline;
mod docs;
mod fields;
mod gate;
mod headers;
mod json;
mod json_text;
mod problem;
mod proxy;
mod rate_limit;
mod recent;
mod record;
mod server;
mod stack;
mod unproblematic;
mod value;

pub use body::{BodyLimits, read_body};
pub use code::HttpCode;
pub use context::RequestContext;
pub use deadline::within;
pub use docs::mount_docs;
pub use fields::{Fields, Patch};
pub use headers::{
    IDEMPOTENCY_KEY_MAX, IfMatch, Prefer, Wait, idempotency_key, if_match, if_none_match, prefer,
    version_tag,
};
pub use json::{StrictBody, StrictJson};
pub use json_text::parse_json;
pub use problem::{FieldProblem, PROBLEM_JSON, Problem, ProblemBody, ProblemCode};
pub use proxy::ProxyNet;
pub(crate) use proxy::client_address;
pub use server::{Api, serve};
pub use stack::HttpStack;
pub use value::FieldValue;
