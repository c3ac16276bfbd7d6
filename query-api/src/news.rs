//! How this process hears of what the projector applied: from the engine in the same process, with
//! the keys that changed, or from PostgreSQL's notifications, which only say that there is news.

use std::sync::Arc;
use std::time::Duration;

use read_model::Applied;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::follower::Follower;
use crate::l1::L1;
use crate::metrics;

/// One notification a committed batch.
const CHECKPOINT_CHANNEL: &str = "projection_checkpoint";
/// A generation was switched, among other things.
const CONTROL_CHANNEL: &str = "projection_control";

/// How long to wait before listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Where news come from.
#[derive(Debug)]
pub enum News {
    /// From the engine in this process.
    InProcess(broadcast::Receiver<Applied>),
    /// From PostgreSQL.
    Listen,
}

/// Passes news on until it is dropped or the engine is gone; then looks by the clock remain.
pub(crate) async fn pass_on(news: News, pool: PgPool, follower: Arc<Follower>, l1: Arc<L1>) {
    match news {
        News::InProcess(receiver) => hear(receiver, &follower, &l1).await,
        News::Listen => loop {
            if let Err(error) = listen(&pool, &follower).await {
                let error = platform::telemetry::chain(&error);
                tracing::debug!(%error, "not listening to the projector; polling while a read waits");
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        },
    }
}

async fn hear(mut receiver: broadcast::Receiver<Applied>, follower: &Follower, l1: &L1) {
    loop {
        match receiver.recv().await {
            Ok(news) => {
                l1.applied(&news);
                follower.applied(&news);
            }
            // What was missed is found out by reading: entries are fresh for a moment only.
            Err(RecvError::Lagged(_)) => follower.wake(),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn listen(pool: &PgPool, follower: &Follower) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener
        .listen_all([CHECKPOINT_CHANNEL, CONTROL_CHANNEL])
        .await?;
    loop {
        let notification = listener.recv().await?;
        match notification.channel() {
            CONTROL_CHANNEL => follower.look_soon(),
            _ => follower.wake(),
        }
    }
}

/// Empties the cache when the store has another history, until it is dropped.
pub(crate) async fn forget_lost_histories(follower: Arc<Follower>, l1: Arc<L1>) {
    let mut looks = follower.subscribe();
    let mut incarnation = None;
    while looks.changed().await.is_ok() {
        let current = looks
            .borrow_and_update()
            .as_ref()
            .map(|one| one.incarnations.current());
        if incarnation.is_some() && current != incarnation {
            tracing::warn!(
                ?incarnation,
                ?current,
                "the store has another history; cache emptied"
            );
            l1.clear();
        }
        incarnation = current;
        metrics::l1_entries(l1.entries());
    }
}
