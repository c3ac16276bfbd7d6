//! What the engine tells readers in the same process after each committed batch, so that they
//! forget what changed and wake who waits. A hint: whoever misses one finds out by reading.

use std::sync::Arc;

use events::Partition;

use crate::projection::Touched;

/// A batch was applied and committed.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The projection.
    pub projection: &'static str,
    /// The generation that was written.
    pub generation: i32,
    /// The partition.
    pub partition: Partition,
    /// The checkpoint after the batch.
    pub position: i64,
    /// What changed.
    pub touched: Arc<[Touched]>,
}
