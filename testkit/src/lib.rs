//! What the tests of every crate share: a database of their own, and the one way to wait.

pub mod cluster;
pub mod database;
mod eventually;
pub mod history;
pub mod pipeline;
pub mod servers;
pub mod topic;

pub use cluster::Cluster;
pub use database::TestDatabase;
pub use eventually::eventually;
pub use topic::TestTopic;
