//! One partition: its queue of the consumer, and the flow of what came out of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events::{ForeignRecord, Partition, Record, record};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::sync::Notify;
use uuid::Uuid;

use super::consumer::{Attached, Queue};
use super::flow::{Arrived, Flow};
use crate::engine::metrics;

/// Who asks no more often is paused, or far behind and read from the store.
const UNASKED_MAX: Duration = Duration::from_secs(2);

/// How many records one read looks at, so that dropping a long run of old ones does not keep a
/// worker thread.
const LOOKS_MAX: usize = 10_000;

/// One partition of the topic.
pub(super) struct Lane {
    pub(super) partition: Partition,
    /// Told by librdkafka when the queue is no longer empty.
    pub(super) arrival: Arc<Notify>,
    feed: Mutex<Feed>,
}

/// What the reader and the keeper share.
pub(super) struct Feed {
    pub(super) flow: Flow,
    pub(super) queue: Option<Queue>,
    /// Somebody wants it read, from this offset on if that is possible.
    pub(super) wanted: Option<Option<i64>>,
    /// The queue is of no more use; it is attached anew.
    pub(super) is_broken: bool,
    /// The next offset of the queue.
    pub(super) offset: i64,
    /// Since when the queue has been empty.
    pub(super) dry_since: Option<Instant>,
    /// When somebody last asked what has arrived.
    pub(super) asked_at: Option<Instant>,
    /// How far everything is applied, to be told to the group.
    pub(super) applied: Option<i64>,
}

impl Lane {
    pub(super) fn new(partition: Partition) -> Self {
        Self {
            partition,
            arrival: Arc::new(Notify::new()),
            feed: Mutex::new(Feed {
                flow: Flow::new(),
                queue: None,
                wanted: None,
                is_broken: false,
                offset: 0,
                dry_since: None,
                asked_at: None,
                applied: None,
            }),
        }
    }

    pub(super) fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// Takes over what the keeper has attached.
    pub(super) fn attach(&mut self, attached: Attached, now: Instant) {
        self.flow.attach(attached.hinted);
        self.queue = Some(attached.queue);
        self.offset = attached.offset;
        self.dry_since = Some(now);
        self.is_broken = false;
    }

    /// Gives the queue up. What was read and not handed out is read again.
    pub(super) fn detach(&mut self) -> Option<Queue> {
        self.flow.detach();
        self.is_broken = false;
        self.queue.take()
    }

    /// The offset of the next record that was not handed out.
    pub(super) fn next_offset(&self) -> i64 {
        self.flow.first_pending().unwrap_or(self.offset)
    }

    /// Moves records from the queue into the flow until `limit` wait there; whether more may be in
    /// the queue.
    pub(super) fn drain(
        &mut self,
        store_id: Uuid,
        partition: Partition,
        limit: usize,
        now: Instant,
    ) -> Result<bool, KafkaError> {
        let Some(queue) = &self.queue else {
            return Ok(false);
        };
        if self.asked_at.is_none_or(|at| now - at > UNASKED_MAX) {
            // What nobody asked for cannot be said to have been missing.
            self.dry_since = Some(now);
        }
        self.asked_at = Some(now);
        for _ in 0..LOOKS_MAX {
            if self.flow.pending() >= limit {
                return Ok(true);
            }
            let message = match queue.poll(Duration::ZERO) {
                None => {
                    self.dry_since.get_or_insert(now);
                    return Ok(false);
                }
                Some(message) => message?,
            };
            self.dry_since = None;
            self.flow.hear_from_kafka();
            let offset = message.offset();
            self.offset = offset + 1;
            match ours(&message, store_id, partition) {
                Ok(record) => self.flow.push(Arrived {
                    offset,
                    incarnation: record.incarnation,
                    event: record.event,
                }),
                Err(error) => tell_foreign(partition, offset, &error),
            }
        }
        Ok(true)
    }
}

fn ours(
    message: &BorrowedMessage<'_>,
    store_id: Uuid,
    partition: Partition,
) -> Result<Record, ForeignRecord> {
    let headers = message.headers();
    let headers = headers.iter().flat_map(|headers| headers.iter());
    let headers = headers.map(|header| (header.key, header.value));
    let record = record::read(message.key(), headers, message.payload())?;
    if record.store_id != store_id {
        return Err(ForeignRecord::Malformed("ce_source"));
    }
    if record.event.address.partition != partition {
        return Err(ForeignRecord::Malformed("ce_partition"));
    }
    Ok(record)
}

fn tell_foreign(partition: Partition, offset: i64, error: &ForeignRecord) {
    metrics::RECORDS_DROPPED
        .with_label_values(&["foreign"])
        .inc();
    tracing::warn!(
        partition = partition.0,
        offset,
        error = %error,
        "dropped a foreign record of partition {partition}"
    );
}
