//! Commands on one stream wait for their turn before they decide: two of one process never spoil
//! each other's decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use events::StreamId;
use tokio::sync::OwnedMutexGuard;

use crate::metrics::STREAM_MAILBOX_DEPTH;

/// Too many commands wait for one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} commands wait for this stream already")]
pub struct MailboxFull {
    /// How many wait, which is also how many may.
    pub waiting: usize,
}

/// One mailbox for each stream that has a command now; none for the others.
pub(super) struct Mailboxes {
    waiting_max: usize,
    busy: Arc<Mutex<HashMap<StreamId, Mailbox>>>,
}

#[derive(Default)]
struct Mailbox {
    /// First come, first served (tokio's mutex is fair).
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Commands that wait or run.
    inside: usize,
}

impl Mailboxes {
    pub(super) fn new(waiting_max: usize) -> Self {
        Self {
            waiting_max,
            busy: Arc::default(),
        }
    }

    /// Waits for the stream's turn, which lasts until the guard is dropped.
    pub(super) async fn enter(&self, stream: &StreamId) -> Result<Turn, MailboxFull> {
        let (place, turn) = self.join(stream)?;
        let turn = turn.lock_owned().await;
        Ok(Turn {
            _turn: turn,
            _place: place,
        })
    }

    /// Takes a place, if there is one. The place is given back even when the wait for the turn is
    /// cancelled.
    fn join(&self, stream: &StreamId) -> Result<(Place, Arc<tokio::sync::Mutex<()>>), MailboxFull> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mailbox = busy.entry(stream.clone()).or_default();
        // One of those inside runs; the others wait.
        if mailbox.inside > self.waiting_max {
            return Err(MailboxFull {
                waiting: self.waiting_max,
            });
        }
        mailbox.inside += 1;
        STREAM_MAILBOX_DEPTH.inc();
        let place = Place {
            stream: stream.clone(),
            busy: Arc::clone(&self.busy),
        };
        Ok((place, Arc::clone(&mailbox.turn)))
    }
}

/// The right to decide on a stream. The next in line gets it when this is dropped.
pub(super) struct Turn {
    // Dropped before the place, so that a mailbox leaves the map only when nobody holds its turn.
    _turn: OwnedMutexGuard<()>,
    _place: Place,
}

struct Place {
    stream: StreamId,
    busy: Arc<Mutex<HashMap<StreamId, Mailbox>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        STREAM_MAILBOX_DEPTH.dec();
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mailbox) = busy.get_mut(&self.stream) else {
            return;
        };
        mailbox.inside -= 1;
        if mailbox.inside == 0 {
            busy.remove(&self.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use events::TenantId;
    use uuid::Uuid;

    use super::*;

    fn stream(number: u128) -> StreamId {
        StreamId::user(
            &TenantId::parse("acme").expect("a tenant"),
            Uuid::from_u128(number),
        )
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn commands_on_one_stream_take_turns_and_other_streams_do_not_wait() {
        let mailboxes = Mailboxes::new(8);
        let (one, other) = (stream(1), stream(2));
        let first = mailboxes.enter(&one).await.expect("the first turn");
        let mut second = pin!(mailboxes.enter(&one));
        assert!(poll(second.as_mut()).is_pending());
        drop(mailboxes.enter(&other).await.expect("another stream"));
        drop(first);
        drop(second.await.expect("the second turn"));
        assert!(mailboxes.busy.lock().expect("a lock").is_empty());
    }

    #[tokio::test]
    async fn a_full_mailbox_refuses_and_a_cancelled_wait_gives_its_place_back() {
        let mailboxes = Mailboxes::new(1);
        let stream = stream(1);
        let running = mailboxes.enter(&stream).await.expect("a turn");
        {
            let mut waiting = pin!(mailboxes.enter(&stream));
            assert!(poll(waiting.as_mut()).is_pending());
            let refused = mailboxes.enter(&stream).await.err();
            assert_eq!(refused, Some(MailboxFull { waiting: 1 }));
        }
        let mut waiting = pin!(mailboxes.enter(&stream));
        assert!(poll(waiting.as_mut()).is_pending());
        drop(running);
        assert!(poll(waiting.as_mut()).is_ready());
    }
}
