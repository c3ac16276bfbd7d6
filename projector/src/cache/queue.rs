//! Committed batches on their way to Redis. The queue is bounded and nobody waits for room in it:
//! what finds it full is dropped and counted, and the follower sees the gap.

use std::sync::Arc;

use platform::metrics::QUEUE_DEPTH;
use prometheus::IntGauge;
use read_model::Applied;
use read_model::projection::Written;
use tokio::sync::mpsc;

use super::metrics;

/// Batches that may wait (`cache_queue_batches_max`); each has at most `PROJECTION_BATCH_ROWS` rows.
pub(super) const BATCHES_MAX: usize = 64;

/// A committed batch.
#[derive(Clone, Debug)]
pub struct Committed {
    /// What in-process readers are told, too.
    pub applied: Applied,
    /// The checkpoint before it.
    pub from: i64,
    /// The incarnation of the store that it was read in.
    pub incarnation: i32,
    /// The rows that it wrote, each as it is after the batch; of two with one key the later counts.
    pub written: Vec<Written>,
}

/// The engine's end of the queue.
#[derive(Clone, Debug)]
pub struct Queue {
    sender: mpsc::Sender<Arc<Committed>>,
    depth: IntGauge,
}

pub(super) struct Receiver {
    receiver: mpsc::Receiver<Arc<Committed>>,
    depth: IntGauge,
}

/// Both ends.
pub(super) fn queue() -> (Queue, Receiver) {
    let (sender, receiver) = mpsc::channel(BATCHES_MAX);
    let depth = QUEUE_DEPTH.with_label_values(&["cache"]);
    depth.set(0);
    let queue = Queue {
        sender,
        depth: depth.clone(),
    };
    (queue, Receiver { receiver, depth })
}

impl Queue {
    pub(crate) fn push(&self, batch: &Arc<Committed>) {
        match self.sender.try_send(Arc::clone(batch)) {
            Ok(()) => self.depth.inc(),
            Err(_) => metrics::dropped(),
        }
    }
}

impl Receiver {
    /// Waits for batches; none when the engine is gone.
    pub(super) async fn some(&mut self) -> Vec<Arc<Committed>> {
        let mut batches = Vec::new();
        self.receiver.recv_many(&mut batches, BATCHES_MAX).await;
        self.taken(batches)
    }

    /// What is there now.
    pub(super) fn rest(&mut self) -> Vec<Arc<Committed>> {
        let rest = std::iter::from_fn(|| self.receiver.try_recv().ok());
        let batches = rest.take(BATCHES_MAX).collect();
        self.taken(batches)
    }

    fn taken(&self, batches: Vec<Arc<Committed>>) -> Vec<Arc<Committed>> {
        self.depth
            .sub(i64::try_from(batches.len()).unwrap_or(i64::MAX));
        batches
    }
}
