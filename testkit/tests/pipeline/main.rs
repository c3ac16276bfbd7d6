//! Proofs of the whole system: OS processes of the built binaries, spoken to over HTTP, killed,
//! paused and cut off, and then judged by what stands in the tables.

mod canaries;
mod checkers;
mod command_crashes;
mod email_claims;
mod failover;
mod idempotency;
mod leases;
mod lost_commit;
mod lost_tail;
mod outage;
mod projector_crashes;
mod reader;
mod redis_faults;
mod redis_sessions;
mod relay;
mod roles;
mod rolling_restart;
mod scene;
mod served;
mod sessions;
mod writers;
