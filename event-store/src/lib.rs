//! The event store: append with gapless positions, reading by stream and by cursor, claims, command
//! outcomes, incarnations.
//!
//! | module | what it holds |
//! |---|---|
//! | [`entry`] | what a command hands to the append, and the verdict it gets back |
//! | [`aggregates`] | deciding: cached aggregates, mailboxes, deciding again |
//! | [`append`] | the group commit: lanes, window, judge, write |
//! | [`store`] | making and opening a store, loading a stream, finding a stored answer |
//! | [`partition_reader`] | reading a partition in order, dense or an error |
//! | [`stretch`] | the same for a rebuild, which reads everything and owns nothing |
//! | [`incarnation`] | which history of the store a server holds, and how another one begins |
//! | [`relay`] | every event to Kafka, in order |
//! | [`digest`], [`store_info`] | how the log proves itself |

pub mod aggregates;
pub mod append;
mod create;
pub mod digest;
pub mod entry;
pub mod incarnation;
mod key_hash;
mod known_streams;
mod metrics;
mod outcome;
pub mod partition_reader;
mod recorded;
pub mod relay;
pub mod store;
pub mod store_info;
pub mod stretch;

pub use append::{AppendSettings, Appender, Heads, StartError};
pub use create::CreateError;
pub use entry::{AppendError, Entry, Verdict};
pub use events::PartitionCount;
pub use partition_reader::{PartitionReader, ReadBatch};
pub use store::{EventStore, Loaded, OpenError, ReadError};
pub use stretch::Stretch;
