//! What the tests of every crate share: a database of their own, and the one way to wait.

pub mod database;
mod eventually;
pub mod history;
pub mod pipeline;
pub mod servers;
pub mod topic;
pub mod topic_writer;

pub use database::TestDatabase;
pub use eventually::eventually;
pub use topic::TestTopic;
pub use topic_writer::TopicWriter;
