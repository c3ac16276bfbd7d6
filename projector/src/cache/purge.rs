//! `projector cache purge`: everything is made cold at once, and then deleted in small steps. The
//! rest of the server is left alone: no `FLUSHALL`, no `KEYS`.

use events::{Partition, TenantId};
use platform::redis_client::Answer;
use read_model::cache::commands::{self, MOVED};
use read_model::cache::{Epoch, Mark};
use serde::Serialize;

use super::tools::{Current, ToolError, Tools};

const READ_PARTITIONS: &str = "select partitions from event_store.settings";

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Partitions whose values were made cold.
    pub made_cold: u64,
    /// Keys that were deleted, leases included.
    pub deleted: u64,
}

/// Purges one tenant's values, or everything of this store.
///
/// # Errors
/// [`ToolError`]; what was not deleted goes away by its TTL.
pub async fn purge(tools: &Tools, tenant: Option<&TenantId>) -> Result<Purged, ToolError> {
    let mut purged = Purged::default();
    if tenant.is_none() {
        for current in tools.current().await? {
            purged.made_cold += make_cold(tools, &current).await?;
        }
    }
    let mut cursor = 0;
    loop {
        let (next, keys) = tools.walk(cursor, tenant).await?;
        if !keys.is_empty() {
            let mut pipeline = redis::pipe();
            pipeline.unlink(&keys);
            let answer: Answer<(u64,)> = tools.call(&pipeline).await?;
            purged.deleted += answer.value.0;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(purged);
        }
    }
}

/// Raises every partition's epoch; the projector that follows it finds out and goes on from there.
async fn make_cold(tools: &Tools, current: &Current) -> Result<u64, ToolError> {
    let count: i32 = sqlx::query_scalar(READ_PARTITIONS)
        .fetch_one(&tools.pool)
        .await?;
    let partitions: Vec<Partition> = (0..count)
        .filter_map(|number| Partition::try_from(number).ok())
        .collect();
    let mut raised = 0;
    for partition in partitions {
        // The projector moves the mark all the time: until it is caught in between.
        loop {
            let marks = tools.marks(&current.keys, &[partition]).await?;
            let Some(mark) = marks.into_iter().next().flatten() else {
                break;
            };
            let cold = Mark {
                epoch: Epoch::random(),
                ..mark.clone()
            };
            let applied = current.keys.applied(partition);
            let pipeline = commands::move_applied(&applied, &[Some(&mark)], &cold);
            let answer: Answer<(String,)> = tools.call(&pipeline).await?;
            if answer.value.0 == MOVED || Mark::parse(&answer.value.0).as_ref() == Some(&cold) {
                raised += 1;
                break;
            }
        }
    }
    Ok(raised)
}
