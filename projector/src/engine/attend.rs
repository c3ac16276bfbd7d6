//! The part of the engine that looks after who works and on which tables.

use events::Partition;

use super::{Engine, generation, lease};

const READ_PAUSED: &str = "select projection from projection.control where paused";

impl Engine {
    /// Says that this daemon lives, renews, gives up and takes leases, and does what the holder of
    /// partition 0 does for the generations.
    ///
    /// # Errors
    /// The database's; everything is tried again with the next call.
    pub async fn attend(&self) -> Result<(), sqlx::Error> {
        let pool = &self.inner.pool;
        let log = event_store::incarnation::load_log(pool).await?;
        self.plan().set_log(log.clone());
        let paused: Vec<String> = sqlx::query_scalar(READ_PAUSED).fetch_all(pool).await?;
        self.plan().set_paused(paused.into_iter().collect());
        let mut changed = false;
        for &projection in &self.inner.projections {
            let scope = self.scope(projection);
            let held = lease::tend(pool, scope, self.inner.partitions.get()).await?;
            let mut known = generation::read(pool, scope.projection).await?;
            let tables = projection.tables();
            // Twice, because what was created on an empty store can be shown at once.
            for _ in 0..2 {
                if !held.contains_key(&Partition(0)) {
                    break;
                }
                match generation::tend(pool, scope, &tables, &known, &log).await {
                    Ok(true) => known = generation::read(pool, scope.projection).await?,
                    Ok(false) => break,
                    // A switch gives way to a long reader and is tried again; what the leases
                    // allow goes on meanwhile.
                    Err(error) => {
                        tracing::warn!(
                            projection = scope.projection,
                            error = %error,
                            "the generations could not be tended; it is tried again"
                        );
                        break;
                    }
                }
            }
            changed |= self.plan().set(scope.projection, held, known);
        }
        self.inner.source.retain(&self.plan().fed());
        self.find_rewound().await?;
        self.plan().attended();
        if changed {
            self.wake_all();
        }
        Ok(())
    }
}
