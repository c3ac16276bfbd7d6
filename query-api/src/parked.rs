//! The parked keys of each partition, as this process last read them. A checkpoint carries the
//! version of its set, so a read knows whether what is remembered here is the set of its snapshot.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use events::Partition;
use read_model::checkpoint::{Checkpoint, ParkedSet, parked};
use read_model::user_view::NAME;
use sqlx::PgConnection;

/// The sets by partition.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    sets: RwLock<HashMap<Partition, Arc<ParkedSet>>>,
}

impl Parked {
    /// The set that a checkpoint speaks of; none when another one is remembered.
    #[must_use]
    pub(crate) fn of(&self, generation: i32, checkpoint: &Checkpoint) -> Option<Arc<ParkedSet>> {
        // Every change raises the version, so at 0 nothing was ever parked.
        if checkpoint.parked_version == 0 {
            return Some(Arc::default());
        }
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get(&checkpoint.partition);
        let same = |set: &&Arc<ParkedSet>| {
            set.generation == generation && set.version == checkpoint.parked_version
        };
        set.filter(same).cloned()
    }

    /// Reads the partition's set anew.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn reload(
        &self,
        connection: &mut PgConnection,
        generation: i32,
        partition: Partition,
    ) -> sqlx::Result<()> {
        let set = Arc::new(parked(connection, NAME, generation, partition).await?);
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        sets.insert(partition, set);
        Ok(())
    }
}
