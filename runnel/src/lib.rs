//! Everything in one process: `runnel up` and the small commands round it.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod home;
pub mod instance_lock;
