//! The write API: commands over HTTP, each decided and appended in a task that nothing cancels.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the settings |
//! | [`application`] | build, port, run until the shutdown |
//! | [`routes`] | the table: route, command, who may |
//! | [`requests`], [`request`] | how each command arrives |
//! | [`handler`] | from a request to a command |
//! | [`run`] | a command to its end: idempotency, deciding, appending |
//! | [`relaying`] | the relay to Kafka beside the API |
//! | [`reply`], [`code`], [`failure`] | what the client gets |
//! | [`openapi`], [`limits`] | what the API tells about itself |

mod access;
pub mod application;
mod code;
pub mod config;
mod email_keys;
mod failure;
mod handler;
mod idempotency;
mod limits;
mod metrics;
mod openapi;
mod relaying;
mod reply;
mod request;
mod requests;
mod routes;
mod run;
mod service;

pub use application::{Application, BuildError};
pub use code::CommandCode;
pub use config::{CommandArgs, CommandSettings, Config, ServiceArgs};
