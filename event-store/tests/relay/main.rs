//! The relay, step by step, against a real PostgreSQL and a real Kafka.

mod leases;
mod others;
mod restarts;
mod stage;
mod stream;
