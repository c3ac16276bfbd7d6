//! The built binary as a process of the operating system.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it says"
)]

mod command_line;
mod kafka;
mod kill;
mod wake;
mod world;
mod writer;
