//! The platform as its users meet it: over sockets, against a real PostgreSQL, from settings.
//!
//! One binary, because linking is what tests spend most of their time on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod app;
mod bodies;
mod connections;
mod database;
mod jwks;
mod limits;
mod logs;
mod problems;
mod redis;
mod remembered;
mod settings;
mod tokens;
mod wire;
