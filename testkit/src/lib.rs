//! What the tests of every crate share: a database of their own, and the one way to wait.

pub mod cluster;
pub mod database;
mod eventually;
pub mod history;
mod own_redis;
pub mod pipeline;
mod scripted;
pub mod servers;
mod spare_port;
pub mod topic;
pub mod topic_log;
pub mod topic_writer;

pub use cluster::Cluster;
pub use database::TestDatabase;
pub use eventually::eventually;
pub use own_redis::OwnRedis;
pub use scripted::Scripted;
pub use spare_port::spare_port;
pub use topic::TestTopic;
pub use topic_writer::TopicWriter;
