//! What every process of Runnel needs and no word of the domain: settings, telemetry, the admin
//! port, the HTTP stack, tokens, secrets, database pools and a clean way to stop.
//!
//! Architecture invariant: this crate depends on no crate of ours. A service hands it what is
//! domain-specific (routes, problem codes, readiness checks) as arguments.

pub mod admin;
pub mod auth;
pub mod breaker;
pub mod build_info;
pub mod config;
pub mod database;
pub mod http;
pub mod metrics;
pub mod output;
pub mod panics;
pub mod redis_client;
pub mod runtime_stats;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
