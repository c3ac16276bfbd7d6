//! A black box's load: it knows HTTP and the public API, and no crate of ours.

#![forbid(unsafe_code)]

pub mod report;
