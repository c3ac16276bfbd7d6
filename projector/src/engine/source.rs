//! Where events come from. The engine cannot tell which source it is reading: every one yields
//! stretches of a partition from a cursor on, may repeat itself and may skip, and what it yields is
//! checked against the cursor.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_store::PartitionReader;
use events::{IncarnationLog, Partition, RecordedEvent};

/// What a cursor wants next.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Of which partition.
    pub partition: Partition,
    /// The events that stand after this position.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
    /// Where Kafka's next record may be, as the checkpoint says. A hint.
    pub kafka_offset: Option<i64>,
    /// The incarnations that the engine knows.
    pub log: Arc<IncarnationLog>,
}

/// Events of one partition, as a source gave them.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The events, in the order in which the source gave them.
    pub events: Vec<RecordedEvent>,
    /// The partition's head when they were read.
    pub head: i64,
    /// The newest incarnation of the store that they were checked against.
    pub incarnation: i32,
    /// The offset of the record after the last event, when Kafka gave them; none when the event
    /// store did.
    pub kafka_offset: Option<i64>,
}

impl Stretch {
    /// Who gave the events, as metrics name it.
    #[must_use]
    pub fn fed_by(&self) -> &'static str {
        match self.kafka_offset {
            Some(_) => "kafka",
            None => "postgres",
        }
    }
}

/// A source did not answer; it is asked again later.
#[derive(Debug, thiserror::Error)]
#[error("the source of partition {partition} gave nothing")]
pub struct SourceError {
    /// The partition that was asked for.
    pub partition: Partition,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Yields events of a partition from a cursor on.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Events that continue a cursor. No event means that there is none yet.
    ///
    /// # Errors
    /// [`SourceError`] when it could not be asked; nothing is known then.
    async fn read(&self, ask: Ask) -> Result<Stretch, SourceError>;

    /// Ends when `partition` may have something new; a source that is told by others never says so.
    async fn arrived(&self, _partition: Partition) {
        std::future::pending().await
    }

    /// Somebody says that `partition` has new events, and perhaps its head.
    fn heard(&self, _partition: Partition, _head: Option<i64>) {}

    /// When the source should be asked again although nothing arrives.
    fn look_again(&self, _partition: Partition) -> Option<Duration> {
        None
    }

    /// Everything that this engine feeds at `partition` has been applied up to here.
    fn applied(&self, _partition: Partition, _position: i64) {}

    /// From now on this engine feeds these partitions and no others.
    fn retain(&self, _partitions: &BTreeSet<Partition>) {}
}

/// The event store itself: catch-up, holes, embedded mode, and whenever nothing else continues the
/// cursor.
#[derive(Clone, Debug)]
pub struct PostgresSource {
    reader: PartitionReader,
}

impl PostgresSource {
    /// Reads through `reader`, whose pool checks each new connection's incarnation.
    #[must_use]
    pub fn new(reader: PartitionReader) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Source for PostgresSource {
    /// The head, and the incarnation with it, are read before the events: a label that is too old
    /// makes a checkpoint void that need not be, one that is too new would hide a lost tail.
    async fn read(&self, ask: Ask) -> Result<Stretch, SourceError> {
        let partition = ask.partition;
        let limit = u32::try_from(ask.limit).unwrap_or(u32::MAX);
        let batch = self.reader.read(partition, ask.after, limit).await;
        let batch = batch.map_err(|source| SourceError {
            partition,
            source: Box::new(source),
        })?;
        Ok(Stretch {
            events: batch.events,
            head: batch.head.position,
            incarnation: batch.head.incarnation,
            kafka_offset: None,
        })
    }
}
