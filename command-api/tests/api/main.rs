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
mod sessions;
mod settings;
mod starting;
mod tenants;
mod tokens;
