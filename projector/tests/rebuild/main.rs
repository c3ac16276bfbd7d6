//! Rebuilds against a real PostgreSQL: what is proven, what is refused, and what survives a kill.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it says"
)]

mod equal;
mod generations;
mod kills;
mod load;
mod log;
mod people;
mod refusals;
mod stopped;
mod switches;
mod world;
