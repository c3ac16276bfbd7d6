//! The projection engine and the operator's command line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cache`] | the follower that writes to Redis what the engine committed |
//! | [`engine`] | leases, cursors, batches, parking, generations |
//! | [`application`] | the service: settings, pools, admin checks, the engine, and a clean stop |
//! | [`rebuild`] | generations that are built, proven and switched; rollback and gc |
//! | [`settings`] | the settings of the engine |
//! | [`cli`] | the operator's verbs |

pub mod application;
pub mod cache;
pub mod cli;
pub mod engine;
pub mod rebuild;
pub mod settings;

pub use application::{Application, ProjectorSettings, Wiring};
