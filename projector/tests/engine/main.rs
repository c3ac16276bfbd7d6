//! The engine against a real PostgreSQL, driven step by step.

mod batches;
mod fencing;
mod generations;
mod leases;
mod poison;
mod repair;
mod source_faults;
mod stage;
mod tally;
