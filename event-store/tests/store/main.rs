//! The event store against a real PostgreSQL: a database of its own for each test.

mod append;
mod batch;
mod claims;
mod cqrs;
mod homes;
mod incarnations;
mod limits;
mod outcomes;
mod proxy;
mod reading;
mod round_trips;
mod support;
mod together;
mod unknown;
mod window;
