//! The query API over HTTP, on a port and a database of its own each.

mod app;
mod proxy;
mod redis_writer;
mod reply;

mod documents;
mod fills;
mod limits;
mod lists;
mod one_snapshot;
mod one_user;
mod outages;
mod pushes;
mod shared_beside;
mod shared_cache;
mod shared_outages;
mod tokens;
