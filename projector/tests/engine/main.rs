//! The engine against a real PostgreSQL, driven step by step.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it says"
)]

mod batches;
mod fencing;
mod generations;
mod kafka;
mod kafka_void;
mod leases;
mod poison;
mod repair;
mod source_faults;
mod stage;
mod tally;
mod topic;
