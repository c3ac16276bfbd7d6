//! Everything in one process: `runnel up`, and the small commands round it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the verbs |
//! | [`up`] | the whole system: PostgreSQL, migrations, the three services, and stopping in order |
//! | [`cluster`] | the private PostgreSQL |
//! | [`home`], [`instance_lock`] | the folder of it all, and that one process has it |
//! | [`migrate`] | schema and event store |
//! | [`roles`] | the services' database roles, and what each may do |
//! | [`keys`], [`token`] | keys and tokens for development |
//! | [`demo`] | a few hundred users, written and read back over HTTP |

#![forbid(unsafe_code)]

pub mod cli;
pub mod cluster;
pub mod completions;
pub mod demo;
mod grants;
pub mod home;
pub mod instance_lock;
pub mod keys;
pub mod migrate;
pub mod roles;
pub mod token;
pub mod up;
