//! The query API: cached reads of the views over HTTP.
//!
//! The way of a read: [`access`] (who may) → [`demand`] (how fresh) → [`reader`] (in-process cache
//! [`l1`], single [`flight`], Redis by [`shared_reads`], wait for the token by the [`follower`],
//! [`load`] from PostgreSQL) → [`answer`] (bytes, ETag, token). Architecture invariant: nothing
//! here writes to a table.

mod access;
mod answer;
mod application;
mod batch;
pub mod code;
pub mod config;
mod cursor;
mod demand;
mod failure;
mod flight;
mod follower;
mod l1;
mod limits;
mod load;
mod metrics;
mod news;
mod openapi;
mod outlook;
mod page;
mod pages;
mod parameters;
mod parked;
mod pushed;
mod reader;
mod routes;
mod shared_cache;
mod shared_reads;
mod state;
mod user;
mod user_entry;
mod users;

pub use application::{Application, BuildError, SERVICE};
pub use config::{Config, QueryArgs, QuerySettings, ServiceArgs};
pub use news::News;
