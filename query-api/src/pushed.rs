//! What the projector says on the channel of Redis, heard by every query process: what it touched
//! is
//! not fresh any more, and who waits for the position goes on. While nobody is subscribed, entries
//! are fresh for their time and no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use platform::redis_client::{RedisClient, RedisError};
use read_model::cache::{Namespace, push};

use crate::follower::Follower;
use crate::l1::L1;

/// How long to wait before the subscription is tried again.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// The subscription.
#[derive(Debug)]
pub(crate) struct Pushed {
    follower: Arc<Follower>,
    l1: Arc<L1>,
    listening: AtomicBool,
}

impl Pushed {
    /// Not subscribed yet.
    pub(crate) fn new(follower: Arc<Follower>, l1: Arc<L1>) -> Self {
        Self {
            follower,
            l1,
            listening: AtomicBool::new(false),
        }
    }

    /// Whether messages would be heard now.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Hears until it is dropped; the store's id is known once the store was looked at.
    pub(crate) async fn hear(&self, client: &RedisClient) {
        let mut looks = self.follower.subscribe();
        loop {
            let outlook = looks.borrow_and_update().clone();
            match outlook.and_then(|outlook| outlook.namespace.clone()) {
                Some(namespace) => {
                    if let Err(error) = self.hear_once(client, &namespace).await {
                        let error = platform::telemetry::chain(&error);
                        tracing::debug!(%error, "not subscribed to the projector's channel");
                    }
                    self.listening.store(false, Ordering::Release);
                    tokio::time::sleep(SUBSCRIBE_AGAIN).await;
                }
                None if looks.changed().await.is_err() => return,
                None => {}
            }
        }
    }

    async fn hear_once(
        &self,
        client: &RedisClient,
        namespace: &Namespace,
    ) -> Result<(), RedisError> {
        let messages = client.subscribe(&push::channel(namespace)).await?;
        let mut messages = std::pin::pin!(messages);
        self.listening.store(true, Ordering::Release);
        tracing::info!("subscribed to the projector's channel");
        while let Some(payload) = messages.next().await {
            // What this binary does not understand is found out by reading.
            if let Some(news) = push::read(&payload) {
                self.l1.applied(&news);
                self.follower.applied(&news);
            }
        }
        Ok(())
    }
}
