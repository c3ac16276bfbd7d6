//! Readers that follow each partition of the event table while others write, and never look back;
//! when PostgreSQL is away they go on where they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chaos::history::{Recorder, Seen};
use sqlx::PgPool;
use testkit::database::TEST_PARTITIONS;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::system::System;

const ABOVE_MARK: &str = "
select position, event_id from event_store.event
where partition = $1 and position > $2
order by position limit 500";

const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Tails {
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
}

impl Tails {
    pub(super) fn follow(system: &System, recorder: &Recorder) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let readers = (0..i32::from(TEST_PARTITIONS)).map(|partition| {
            let (pool, recorder) = (system.pool.clone(), recorder.clone());
            tokio::spawn(read(pool, partition, recorder, stop.clone()))
        });
        let readers = readers.collect();
        Self { stop, readers }
    }

    /// Ends them; each reads what is left first.
    pub(super) async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.await.expect("a reader does not panic");
        }
    }
}

async fn read(pool: PgPool, partition: i32, recorder: Recorder, stop: Arc<AtomicBool>) {
    let mut mark = 0;
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        let above = sqlx::query_as(ABOVE_MARK).bind(partition).bind(mark);
        let above: sqlx::Result<Vec<(i64, Uuid)>> = above.fetch_all(&pool).await;
        if let Ok(events) = &above {
            let seen = events.iter().map(|(position, event_id)| Seen {
                partition,
                position: *position,
                event_id: *event_id,
            });
            recorder.seen(&seen.collect::<Vec<_>>());
            mark = events.last().map_or(mark, |(position, _)| *position);
        }
        match above {
            Ok(events) if events.is_empty() && is_last => return,
            Ok(events) if !events.is_empty() => {}
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
