//! The command API over HTTP, on a real store.

mod access;
mod app;
mod bad_input;
mod commands;
mod conditions;
mod full;
mod idempotency;
mod lifetime;
mod nodes;
mod openapi;
mod settings;
mod starting;
mod tenants;
mod tokens;
