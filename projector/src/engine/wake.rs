//! What wakes the engine: the appender of the same process, PostgreSQL's notifications, and a look
//! at the heads now and then behind both, because a notification can be lost and a poll cannot.

use std::time::Duration;

use event_store::{Heads, ReadError};
use events::Partition;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::watch;

use super::Engine;

const APPENDED: &str = "event_store_appended";
const CONTROL: &str = "projection_control";

/// How long to wait before listening again after the connection was lost.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

impl Engine {
    /// Follows the heads that an appender of this process announces.
    pub(super) async fn follow_appender(&self, mut heads: watch::Receiver<Heads>) {
        let mut known = heads.borrow_and_update().positions.clone();
        while heads.changed().await.is_ok() {
            let now = heads.borrow_and_update().positions.clone();
            self.tell_source(&now);
            self.wake_moved(&known, &now);
            known = now;
        }
    }

    /// Listens to PostgreSQL.
    pub(super) async fn listen(&self) {
        // A connection of its own: waiting for notifications must not take one from the batches.
        let options = self.inner.pool.connect_options().as_ref().clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options);
        loop {
            if let Err(error) = self.listen_on(&pool).await {
                tracing::warn!(error = %error, "not listening; the heads are polled meanwhile");
            }
            tokio::time::sleep(RECONNECT_WAIT).await;
        }
    }

    async fn listen_on(&self, pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([APPENDED, CONTROL]).await?;
        // Something may have happened before.
        self.wake_all();
        loop {
            match listener.try_recv().await? {
                Some(message) if message.channel() == APPENDED => {
                    self.wake_named(message.payload());
                }
                Some(_) => self.inner.attention.notify_one(),
                // The connection was lost and is back: what was said meanwhile is not repeated.
                None => {
                    self.wake_all();
                    self.inner.attention.notify_one();
                }
            }
        }
    }

    /// Looks at the heads every [`super::EngineSettings::silence_max`].
    pub(super) async fn poll_heads(&self) {
        let mut known = Vec::new();
        loop {
            tokio::time::sleep(self.inner.settings.silence_max).await;
            match self.look_at_heads().await {
                Ok(now) => {
                    self.wake_moved(&known, &now);
                    known = now;
                }
                Err(error) => {
                    tracing::debug!(error = %error, "the heads could not be read");
                    known.clear();
                }
            }
        }
    }

    /// Reads every head and tells the source.
    pub(super) async fn look_at_heads(&self) -> Result<Vec<i64>, ReadError> {
        let heads = self.inner.reader.heads().await?;
        let now: Vec<_> = heads.iter().map(|head| head.position).collect();
        self.tell_source(&now);
        Ok(now)
    }

    /// Tells the source the heads; the appender gives -1 for one that it has not seen yet.
    fn tell_source(&self, heads: &[i64]) {
        for (partition, head) in self.inner.partitions.iter().zip(heads) {
            if *head >= 0 {
                self.inner.source.heard(partition, Some(*head));
            }
        }
    }

    fn wake_moved(&self, known: &[i64], now: &[i64]) {
        for partition in self.inner.partitions.iter() {
            let index = partition.index();
            if known.get(index) != now.get(index) {
                self.wake(partition);
            }
        }
    }

    /// Wakes the partitions of a payload such as `0,2,6`; all of them when it says anything else.
    fn wake_named(&self, payload: &str) {
        let partitions: Option<Vec<Partition>> = payload
            .split(',')
            .map(|number| number.trim().parse().ok().map(Partition))
            .collect();
        match partitions {
            Some(partitions) => partitions.into_iter().for_each(|partition| {
                self.inner.source.heard(partition, None);
                self.wake(partition);
            }),
            None => self.wake_all(),
        }
    }
}
