//! A reader that follows one partition while others write, and never looks back (I3). It asks for
//! what lies above its mark and nothing else, so an event that appears below a mark later would be
//! missing from what it saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::log::EventLog;

const ABOVE_MARK: &str = "
select position, event_id from event_store.event
where partition = $1 and position > $2
order by position limit 500";

const PAUSE: Duration = Duration::from_millis(2);

/// What a reader saw of a partition, in the order in which it saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The partition.
    pub partition: i32,
    /// Positions and event ids.
    pub events: Vec<(i64, Uuid)>,
}

/// Readers of all partitions.
pub struct Tails {
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<sqlx::Result<Seen>>>,
}

impl Tails {
    /// Starts a reader for each partition.
    #[must_use]
    pub fn follow(pool: &PgPool, partitions: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let readers = (0..i32::from(partitions))
            .map(|partition| tokio::spawn(read(pool.clone(), partition, stop.clone())))
            .collect();
        Self { stop, readers }
    }

    /// Ends them; each reads what is left first.
    ///
    /// # Panics
    /// When the database could not be read.
    pub async fn finish(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        let mut seen = vec![];
        for reader in self.readers {
            seen.push(reader.await.expect("no panic").expect("a readable log"));
        }
        seen
    }
}

async fn read(pool: PgPool, partition: i32, stop: Arc<AtomicBool>) -> sqlx::Result<Seen> {
    let mut events: Vec<(i64, Uuid)> = vec![];
    loop {
        let is_last = stop.load(Ordering::SeqCst);
        let mark = events.last().map_or(0, |last| last.0);
        let batch: Vec<(i64, Uuid)> = sqlx::query_as(ABOVE_MARK)
            .bind(partition)
            .bind(mark)
            .fetch_all(&pool)
            .await?;
        let is_empty = batch.is_empty();
        events.extend(batch);
        if is_empty && is_last {
            return Ok(Seen { partition, events });
        }
        if is_empty {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Seen {
    /// Gaps, and differences from the log as it stands afterwards.
    #[must_use]
    pub fn findings(&self, log: &EventLog) -> Vec<String> {
        let partition = self.partition;
        let mut findings = vec![];
        for (expected, (position, _)) in (1..).zip(&self.events) {
            if *position != expected {
                findings.push(format!(
                    "{partition}: saw {position} where {expected} was next"
                ));
                break;
            }
        }
        let entries = log
            .entries
            .iter()
            .filter(|entry| entry.partition == partition);
        let stored: Vec<_> = entries
            .map(|entry| (entry.position, entry.event_id))
            .collect();
        if stored != self.events {
            let (saw, are) = (self.events.len(), stored.len());
            findings.push(format!(
                "{partition}: the reader saw {saw} events, there are {are}"
            ));
        }
        findings
    }
}
