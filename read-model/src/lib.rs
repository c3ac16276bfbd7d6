//! The contract between projector and query-api: each view's rows, projection, reads, cache keys and policy, one file a view.

pub mod projection;
