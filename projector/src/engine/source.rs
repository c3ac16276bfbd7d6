//! Where events come from. The engine cannot tell which source it is reading: every one yields
//! stretches of a partition from a cursor on, may repeat itself and may skip, and what it yields is
//! checked against the cursor.

use async_trait::async_trait;
use event_store::PartitionReader;
use events::{Partition, RecordedEvent};

/// Events of one partition, as a source gave them.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The events, in the order in which the source gave them.
    pub events: Vec<RecordedEvent>,
    /// The partition's head when they were read.
    pub head: i64,
    /// The incarnation of the store that they were read in.
    pub incarnation: i32,
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
    /// Up to `limit` events of `partition` that stand after the position `after`. No event means
    /// that there is none yet.
    ///
    /// # Errors
    /// [`SourceError`] when it could not be asked; nothing is known then.
    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
    ) -> Result<Stretch, SourceError>;
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
    async fn read(
        &self,
        partition: Partition,
        after: i64,
        limit: usize,
    ) -> Result<Stretch, SourceError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let batch = self.reader.read(partition, after, limit).await;
        let batch = batch.map_err(|source| SourceError {
            partition,
            source: Box::new(source),
        })?;
        Ok(Stretch {
            events: batch.events,
            head: batch.head.position,
            incarnation: batch.head.incarnation,
        })
    }
}
