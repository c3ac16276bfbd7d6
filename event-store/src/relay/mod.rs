//! The relay: every event of the store goes to Kafka, in order, at least once.

mod settings;

pub use settings::{RelaySettings, Target};
