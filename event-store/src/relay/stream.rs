//! A partition's records on their way: sent in order, acknowledged in order, at offsets that rise.
//! Whatever else happens ends the stream; the next one begins where the topic says.

use std::collections::VecDeque;
use std::time::Duration;

use events::{Partition, RecordedEvent, record};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{Delivered, Producer};
use super::lease::Mark;
use super::resume::Found;
use super::settings::Target;
use super::step::Trouble;

/// How often acknowledgements are looked for. Nobody who reads waits for them: only the lower bound
/// and what may be under way.
const POLL: Duration = Duration::from_millis(4);

/// A record without an acknowledgement.
struct Flying {
    position: i64,
    since: Instant,
    delivery: oneshot::Receiver<Delivered>,
}

/// An open stream of records.
pub(super) struct Stream {
    partition: Partition,
    pub(super) epoch: i64,
    pub(super) incarnation: i32,
    /// The last position that was handed to the producer.
    pub(super) sent: i64,
    /// The last position that Kafka has acknowledged, or had when the stream began.
    pub(super) acked: i64,
    /// The next acknowledgement's offset is above it; the first one's is the very next.
    pub(super) last_offset: i64,
    is_first: bool,
    pub(super) compare_at: Instant,
    pub(super) comparison: Option<Comparison>,
    producer: Producer,
    flying: VecDeque<Flying>,
    last_acked_at: Instant,
}

/// A look at the topic's ends that goes on beside the stream.
pub(super) struct Comparison {
    /// What was acknowledged before it, and must be found.
    pub(super) acked: i64,
    pub(super) last_offset: i64,
    pub(super) found: oneshot::Receiver<Result<Found, Trouble>>,
}

/// Where a stream begins.
pub(super) struct Beginning {
    pub(super) partition: Partition,
    pub(super) epoch: i64,
    pub(super) incarnation: i32,
    pub(super) after: i64,
    pub(super) last_offset: i64,
    pub(super) compare_at: Instant,
}

impl Stream {
    pub(super) fn begin(at: &Beginning, producer: Producer) -> Self {
        Self {
            partition: at.partition,
            epoch: at.epoch,
            incarnation: at.incarnation,
            sent: at.after,
            acked: at.after,
            last_offset: at.last_offset,
            is_first: true,
            compare_at: at.compare_at,
            comparison: None,
            producer,
            flying: VecDeque::new(),
            last_acked_at: Instant::now(),
        }
    }

    /// Records without an acknowledgement.
    pub(super) fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// The lower bound that Postgres may hold.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            partition: self.partition,
            epoch: self.epoch,
            incarnation: self.incarnation,
            position: self.acked,
        }
    }

    /// Hands events to the producer in order, and says how many it took: a full queue takes the
    /// rest after some acknowledgements.
    pub(super) fn send(
        &mut self,
        target: &Target,
        store_id: Uuid,
        events: &[RecordedEvent],
    ) -> Result<usize, Trouble> {
        for (index, event) in events.iter().enumerate() {
            let key = record::key(event);
            let headers = record::headers(store_id, self.incarnation, event);
            let mut owned = OwnedHeaders::new_with_capacity(headers.len());
            for (name, value) in &headers {
                let value = Some(value.as_str());
                owned = owned.insert(Header { key: name, value });
            }
            let (told, delivery) = oneshot::channel();
            let outgoing = BaseRecord::with_opaque_to(&target.topic, Box::new(told))
                .partition(self.partition.as_i32())
                .key(&key)
                .payload(event.payload.get())
                .timestamp(event.recorded_at.timestamp_millis())
                .headers(owned);
            let position = event.address.position;
            match self.producer.send(outgoing) {
                Ok(()) => self.flying.push_back(Flying {
                    position,
                    since: Instant::now(),
                    delivery,
                }),
                Err((error, _)) if is_queue_full(&error) => return Ok(index),
                Err((source, _)) => return Err(Trouble::Delivery { position, source }),
            }
            self.sent = position;
        }
        Ok(events.len())
    }

    /// Takes the acknowledgements that have arrived, and says how many.
    pub(super) fn collect(&mut self) -> Result<usize, Trouble> {
        let mut acknowledged = 0;
        loop {
            self.producer.poll(Duration::ZERO);
            let before = acknowledged;
            while let Some(delivered) = self.delivered() {
                self.acknowledge(delivered)?;
                acknowledged += 1;
            }
            // One poll gives one event of librdkafka's, mostly what one request has brought.
            if acknowledged == before {
                return Ok(acknowledged);
            }
        }
    }

    /// What became of the oldest record, if that is known.
    fn delivered(&mut self) -> Option<Delivered> {
        match self.flying.front_mut()?.delivery.try_recv() {
            Ok(delivered) => Some(delivered),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(KafkaError::Canceled)),
        }
    }

    /// Waits for acknowledgements, at most `patience`; a record that has waited for `silence_max`
    /// is the watchdog's, because librdkafka is told to wait for ever: what it times out, it skips.
    pub(super) async fn wait(
        &mut self,
        patience: Duration,
        silence_max: Duration,
    ) -> Result<(), Trouble> {
        let until = Instant::now() + patience;
        while self.collect()? == 0 {
            let Some(front) = self.flying.front() else {
                return Ok(());
            };
            // In each pass: a busy partition's wait is cut short again and again.
            let silent = front.since.max(self.last_acked_at).elapsed();
            if silent > silence_max {
                let position = front.position;
                return Err(Trouble::Silent { position, silent });
            }
            if Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn acknowledge(&mut self, delivered: Delivered) -> Result<(), Trouble> {
        let Some(front) = self.flying.pop_front() else {
            return Ok(());
        };
        let position = front.position;
        match delivered {
            Ok(offset) if self.expects(offset) => {
                self.is_first = false;
                self.last_offset = offset;
                self.acked = position;
                self.last_acked_at = Instant::now();
                Ok(())
            }
            Ok(offset) => Err(Trouble::Offset {
                position,
                offset,
                last: self.last_offset,
            }),
            Err(source) => Err(Trouble::Delivery { position, source }),
        }
    }

    /// Offsets rise. The first one is that of the log's end when the stream began: a record that
    /// came between was under way from the stream before, and the log must be looked at again.
    fn expects(&self, offset: i64) -> bool {
        if self.is_first {
            offset == self.last_offset + 1
        } else {
            offset > self.last_offset
        }
    }

    /// Drops the producer and what waits in it, on a thread of its own: that blocks. What it
    /// returns ends when the producer is gone.
    pub(super) fn close(self) -> oneshot::Receiver<()> {
        let Self { producer, .. } = self;
        let (gone, wait) = oneshot::channel();
        let thread = std::thread::Builder::new().name("relay-close".to_owned());
        // Without a thread it is dropped here and now.
        drop(thread.spawn(move || {
            drop(producer);
            let _ = gone.send(());
        }));
        wait
    }
}

fn is_queue_full(error: &KafkaError) -> bool {
    *error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
}

#[cfg(test)]
mod tests {
    use testkit::history::{History, registered, tenant};

    use super::super::client;
    use super::super::settings::RelaySettings;
    use super::*;

    #[tokio::test]
    async fn silence_is_noticed_also_when_every_wait_is_cut_short() {
        let target = Target {
            brokers: "127.0.0.1:1".to_owned(),
            topic: "nowhere".to_owned(),
        };
        let producer = client::producer(&target, &RelaySettings::default(), false).unwrap();
        let mut history = History::default();
        let user = Uuid::from_u128(5);
        let event = registered(user, "Ada", "eu-west", [0; 32]);
        let event = history.record(&tenant("acme"), user, &event);
        let beginning = Beginning {
            partition: event.address.partition,
            epoch: 1,
            incarnation: 1,
            after: 0,
            last_offset: -1,
            compare_at: Instant::now(),
        };
        let mut stream = Stream::begin(&beginning, producer);
        assert_eq!(stream.send(&target, Uuid::nil(), &[event]).unwrap(), 1);
        let (silence, begun) = (Duration::from_millis(200), Instant::now());
        let trouble = loop {
            assert!(begun.elapsed() < Duration::from_secs(20), "not noticed");
            let wait = stream.wait(Duration::from_secs(10), silence);
            if let Ok(Err(trouble)) = tokio::time::timeout(Duration::from_millis(10), wait).await {
                break trouble;
            }
        };
        assert!(
            matches!(trouble, Trouble::Silent { position: 1, silent } if silent > silence),
            "{trouble:?}"
        );
        stream.close().await.unwrap();
    }
}
