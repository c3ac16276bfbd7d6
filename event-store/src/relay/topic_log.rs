//! Reading back what the topic holds: its ends, and the records in between.
//!
//! Each look has a consumer of its own: one that outlived a topic would believe what it knew of it,
//! and a look is rare. librdkafka's calls block, and closing a consumer has been seen to hang, so a
//! look runs on a thread of its own and answers before it closes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::Partition;
use events::record::{self, Record};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use super::client::{self, KafkaLog, Reader};
use super::settings::Target;

/// Looks at one time; each is a thread and a connection.
const LOOKS_MAX: usize = 4;

/// Looks whose consumers are closing, or will be.
const CLOSING_MAX: usize = 16;

/// How long one question to the broker may take.
const ASK_MAX: Duration = Duration::from_secs(5);

/// How long a whole look may take.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Why the topic could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The broker did not answer, or refused.
    #[error("Kafka could not be asked")]
    Kafka(#[from] KafkaError),
    /// It took too long.
    #[error("Kafka did not answer in time")]
    Silent,
    /// The records between the ends are not all there.
    #[error("the topic ended at offset {0}, before its end")]
    Short(i64),
    /// Consumers of earlier looks hang in closing.
    #[error("{CLOSING_MAX} consumers that read the topic back hang in closing")]
    Hanging,
}

/// The ends of a partition's log: the offset of its first record, and the one of its next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// Reads a topic.
#[derive(Clone, Debug)]
pub(super) struct TopicLog {
    target: Target,
    looks: Arc<Semaphore>,
    closing: Arc<Semaphore>,
}

/// One look at one partition.
pub(super) struct Look {
    reader: Reader,
    topic: String,
    partition: i32,
    until: Instant,
}

impl TopicLog {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            closing: Arc::new(Semaphore::new(CLOSING_MAX)),
        }
    }

    /// Looks at a partition.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        partition: Partition,
        work: impl FnOnce(&Look) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let permit = Arc::clone(&self.looks).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(LOOK_MAX, permit).await else {
            return Err(LogError::Silent);
        };
        let closing = Arc::clone(&self.closing).acquire_owned();
        let Ok(Ok(closing)) = tokio::time::timeout(ASK_MAX, closing).await else {
            return Err(LogError::Hanging);
        };
        let target = self.target.clone();
        let looked = client::on_a_thread(move |answer| {
            let look = client::reader(&target).map(|reader| Look {
                reader,
                topic: target.topic,
                partition: partition.as_i32(),
                until: Instant::now() + LOOK_MAX,
            });
            let refused = |error: &KafkaError| Err(LogError::Kafka(error.clone()));
            let result = look.as_ref().map_or_else(refused, work);
            // Before the consumer closes, which may take longer. Nobody may be waiting any more.
            drop(answer.send(result));
            drop(permit);
            drop(look);
            drop(closing);
        });
        match tokio::time::timeout(LOOK_MAX, looked).await {
            Ok(Some(result)) => result,
            _ => Err(LogError::Silent),
        }
    }

    /// The ends of a partition.
    pub(super) async fn ends(&self, partition: Partition) -> Result<Ends, LogError> {
        self.look(partition, Look::ends).await
    }

    /// Cuts off everything that is there by now, because it came out of order; returns the offset
    /// that the next record will have.
    pub(super) async fn cut(&self, partition: Partition) -> Result<i64, LogError> {
        let admin: AdminClient<KafkaLog> =
            client::config(&self.target).create_with_context(KafkaLog)?;
        let mut offsets = TopicPartitionList::new();
        let partition = partition.as_i32();
        offsets.add_partition_offset(&self.target.topic, partition, Offset::End)?;
        let options = AdminOptions::new().operation_timeout(Some(ASK_MAX));
        let done = admin.delete_records(&offsets, &options).await?;
        for element in done.elements() {
            element.error()?;
            if let Offset::Offset(low) = element.offset() {
                return Ok(low);
            }
        }
        Err(LogError::Silent)
    }
}

impl Look {
    pub(super) fn ends(&self) -> Result<Ends, LogError> {
        let ends = self
            .reader
            .fetch_watermarks(&self.topic, self.partition, ASK_MAX);
        let (low, high) = ends?;
        Ok(Ends { low, high })
    }

    /// Hands our records at `from .. upto` over in order, each with its offset; none is kept here.
    pub(super) fn read(
        &self,
        from: i64,
        upto: i64,
        mut take: impl FnMut(i64, Record),
    ) -> Result<(), LogError> {
        if from >= upto {
            return Ok(());
        }
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(&self.topic, self.partition, Offset::Offset(from))?;
        self.reader.assign(&start)?;
        while Instant::now() < self.until {
            match self.reader.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    let offset = message.offset();
                    let ours = ours(&message).filter(|_| offset < upto);
                    if let Some(record) = ours {
                        take(offset, record);
                    }
                    if offset + 1 >= upto {
                        return Ok(());
                    }
                }
                // The marker at the end of a transaction has an offset and is never given.
                Some(Err(KafkaError::PartitionEOF(_))) if self.position()? >= upto => {
                    return Ok(());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let ends = self.ends()?;
                    if ends.high < upto {
                        return Err(LogError::Short(ends.high));
                    }
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
        Err(LogError::Silent)
    }

    /// The offset after the last one that it has passed.
    fn position(&self) -> Result<i64, LogError> {
        let positions = self.reader.position()?;
        let position = positions.find_partition(&self.topic, self.partition);
        Ok(match position.map(|position| position.offset()) {
            Some(Offset::Offset(offset)) => offset,
            _ => 0,
        })
    }
}

fn ours(message: &BorrowedMessage<'_>) -> Option<Record> {
    let headers = message.headers()?;
    let headers = headers.iter().map(|header| (header.key, header.value));
    record::read(message.key(), headers, message.payload()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beside_so_many_that_hang_in_closing_no_other_look_begins() {
        let target = Target {
            brokers: "127.0.0.1:1".to_owned(),
            topic: "nowhere".to_owned(),
        };
        let log = TopicLog::new(target);
        let hanging = u32::try_from(CLOSING_MAX).unwrap();
        let hanging = Arc::clone(&log.closing).acquire_many_owned(hanging);
        let hanging = hanging.await.unwrap();
        let look = || log.look(Partition(0), |_| Ok(()));
        assert!(matches!(look().await, Err(LogError::Hanging)));
        drop(hanging);
        assert!(look().await.is_ok());
    }
}
