//! What a relay is told: where Kafka is, and its bounds.

use std::time::Duration;

/// The topic that events are relayed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`, with commas between.
    pub brokers: String,
    /// The topic's name.
    pub topic: String,
}

/// Bounds of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// How long a partition stays with a process that does not answer any more.
    pub lease: Duration,
    /// Records of one partition that may be on their way without an acknowledgement.
    pub in_flight_max: usize,
    /// How long the oldest of them may wait before its partition gets a new producer.
    pub silence_max: Duration,
    /// How often a partition that is at rest or at work is compared with what the topic holds.
    pub compare_interval: Duration,
    /// How long a partition rests that waits for somebody to put something right.
    pub stopped_rest: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            in_flight_max: 1000,
            silence_max: Duration::from_secs(30),
            compare_interval: Duration::from_secs(60),
            stopped_rest: Duration::from_secs(5),
        }
    }
}
