//! Telling others that heads have moved: in this process by a watch channel, other processes by a
//! coalesced `NOTIFY`.
//!
//! The notification is never part of a lane's transaction: the lock that `NOTIFY` takes at commit
//! would put the commits of all lanes in one row.

use std::fmt::Write as _;
use std::time::Duration;

use events::PartitionCount;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The channel of the notifications; the payload is the moved partitions, such as `0,3`.
pub const CHANNEL: &str = "event_store_appended";

/// The least time between two notifications. Who listens across processes has a poll of the same
/// period behind it.
const NOTIFY_INTERVAL_MIN: Duration = Duration::from_millis(5);

/// How long the notifier rests when it cannot connect.
const RECONNECT_REST: Duration = Duration::from_secs(1);

/// A lost notification costs a poll, so it need not wait for the disk.
const NOTIFY_SETUP: &str = "set synchronous_commit = off; set statement_timeout = '5s'";

const NOTIFY: &str = "select pg_notify($1, $2)";

/// The head of every partition, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The incarnation in which a lane saw them last; 0 before the first time.
    pub incarnation: i32,
    /// By partition number; -1 is "not seen yet".
    pub positions: Vec<i64>,
}

impl Heads {
    pub(super) fn new(count: PartitionCount) -> Self {
        Self {
            incarnation: 0,
            positions: vec![-1; usize::from(count.get())],
        }
    }

    /// Takes over what a lane saw under its lock; says whether that was news.
    pub(super) fn see(&mut self, incarnation: i32, partition: usize, position: i64) -> bool {
        let news = self.incarnation != incarnation || self.positions[partition] != position;
        self.incarnation = incarnation;
        self.positions[partition] = position;
        news
    }

    /// The partitions whose head differs from `before`, as the notification names them.
    fn moved_since(&self, before: &Self) -> String {
        let mut moved = String::new();
        for (partition, (now, then)) in self.positions.iter().zip(&before.positions).enumerate() {
            if now != then {
                let joint = if moved.is_empty() { "" } else { "," };
                // Writing into a `String` cannot fail.
                let _ = write!(moved, "{joint}{partition}");
            }
        }
        moved
    }
}

/// Notifies other processes until `stop`.
pub(super) async fn notify(
    options: PgConnectOptions,
    mut heads: watch::Receiver<Heads>,
    stop: CancellationToken,
) {
    let mut told = heads.borrow_and_update().clone();
    let mut connection = None;
    loop {
        let changed = tokio::select! {
            changed = heads.changed() => changed.is_ok(),
            () = stop.cancelled() => false,
        };
        if !changed {
            return;
        }
        let now = heads.borrow_and_update().clone();
        let moved = now.moved_since(&told);
        if moved.is_empty() {
            continue;
        }
        match tell(&options, connection.take(), &moved).await {
            Ok(open) => {
                connection = Some(open);
                told = now;
                tokio::time::sleep(NOTIFY_INTERVAL_MIN).await;
            }
            Err(error) => {
                tracing::warn!(error = %error, "other processes could not be notified");
                tokio::time::sleep(RECONNECT_REST).await;
                heads.mark_changed();
            }
        }
    }
}

async fn tell(
    options: &PgConnectOptions,
    connection: Option<PgConnection>,
    moved: &str,
) -> Result<PgConnection, sqlx::Error> {
    let mut connection = match connection {
        Some(open) => open,
        None => {
            let mut fresh = options
                .clone()
                .disable_statement_logging()
                .connect()
                .await?;
            fresh.execute(NOTIFY_SETUP).await?;
            fresh
        }
    };
    sqlx::query(NOTIFY)
        .bind(CHANNEL)
        .bind(moved)
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_names_the_partitions_that_moved() {
        let before = Heads::new(PartitionCount::new(4).expect("4 is a count"));
        let mut after = before.clone();
        assert!(after.see(1, 0, 5) && after.see(1, 3, 1) && !after.see(1, 3, 1));
        assert_eq!(after.moved_since(&before), "0,3");
        assert_eq!(after.moved_since(&after), "");
    }
}
