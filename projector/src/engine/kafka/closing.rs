//! Letting consumers go. Closing one blocks, and has been seen to hang: each has a thread that
//! nobody waits for, and while too many hang no other consumer is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::metrics;

/// So many may be closing at one time.
const CLOSING_MAX: usize = 3;

/// The consumers that are closing.
pub(super) struct Closing {
    count: Arc<AtomicUsize>,
    /// That there is no room for another one was said, and is true still.
    is_told: bool,
}

/// One of them.
struct One(Arc<AtomicUsize>);

impl Closing {
    pub(super) fn new() -> Self {
        Self {
            count: Arc::default(),
            is_told: false,
        }
    }

    /// Drops a consumer and what hangs on it.
    pub(super) fn let_go(&self, consumer: impl Send + 'static) {
        let one = One::begin(&self.count);
        let thread = std::thread::Builder::new().name("kafka-close".to_owned());
        let closed = thread.spawn(move || {
            drop(consumer);
            drop(one);
        });
        if let Err(error) = closed {
            tracing::warn!(error = %error, "a Kafka consumer was closed without a thread");
        }
    }

    /// Whether another consumer may be made. Says so once when none may, and when one may again.
    pub(super) fn has_room(&mut self) -> bool {
        let closing = self.count.load(Ordering::Acquire);
        let has_room = closing < CLOSING_MAX;
        let was_told = std::mem::replace(&mut self.is_told, !has_room);
        if !has_room && !was_told {
            tracing::error!(
                closing,
                "{closing} Kafka consumers hang in closing: Kafka is not read until one of them is \
                 closed, or this process is started again; the event store is read instead"
            );
        } else if has_room && was_told {
            tracing::info!("a Kafka consumer that hung is closed; Kafka is read again");
        }
        has_room
    }
}

impl One {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        metrics::CONSUMERS_CLOSING.inc();
        Self(Arc::clone(count))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
        metrics::CONSUMERS_CLOSING.dec();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use testkit::eventually;

    use super::*;

    /// A consumer whose closing hangs until the other end is dropped.
    struct Hanging(Receiver<()>);

    impl Drop for Hanging {
        fn drop(&mut self) {
            self.0.recv().ok();
        }
    }

    /// As many hang as may, each until its sender is dropped.
    pub(in super::super) fn fill(closing: &Closing) -> Vec<Sender<()>> {
        let hang = |_| {
            let (release, hanging) = channel();
            closing.let_go(Hanging(hanging));
            release
        };
        (0..CLOSING_MAX).map(hang).collect()
    }

    #[tokio::test]
    async fn while_three_hang_there_is_no_room_and_it_is_shown() {
        let mut closing = Closing::new();
        assert!(closing.has_room());
        let mut hanging = fill(&closing);
        assert!(!closing.has_room());
        assert!(closing.is_told);
        assert!(metrics::CONSUMERS_CLOSING.get() >= 3);
        hanging.pop();
        eventually(Duration::from_secs(20), || {
            let has_room = closing.has_room();
            async move { if has_room { Ok(()) } else { Err("no room") } }
        })
        .await;
        assert!(!closing.is_told);
    }
}
