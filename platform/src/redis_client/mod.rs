//! The client of Redis: one shared connection, a budget for every call and a circuit breaker. In an
//! outage a call fails within its budget, and nothing waits for a reconnect longer than that: it
//! goes on behind the callers' backs.
//!
//! By hand and not the client library's connection manager, because that makes every caller wait
//! for its shared reconnect (over 6 s), does not reconnect after a response timeout, and does not
//! say which run of the server a reply is from.

mod link;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use redis::{FromRedisValue, Pipeline};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::breaker::{Breaker, CircuitOpen, State};
use crate::config::RedisSettings;
use link::Link;

/// How long a connection may take to stand, whoever waits for it meanwhile.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Why there is no answer. A caller goes on without Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// It failed too often lately.
    #[error(transparent)]
    Open(#[from] CircuitOpen),
    /// The budget is spent. Whether the commands were executed is not known.
    #[error("Redis did not answer within {0:?}")]
    TimedOut(Duration),
    /// The connection or the server failed. Whether the commands were executed is not known.
    #[error("Redis failed")]
    Failed(#[source] redis::RedisError),
}

/// An answer, and who gave it.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What was answered.
    pub value: T,
    /// `run_id` of the server: after a restart or a failover it is another one.
    pub run_id: Arc<str>,
}

/// The client; clones share connection and breaker.
#[derive(Clone, Debug)]
pub struct RedisClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: redis::Client,
    budget: Duration,
    scripts: &'static [&'static str],
    breaker: Breaker,
    link: watch::Sender<Option<Arc<Link>>>,
    connecting: AtomicBool,
    /// Connections outlive the worker thread that needed one first.
    runtime: Handle,
}

impl RedisClient {
    /// A client that connects when it is first used. Each connection loads `scripts`, so that calls
    /// can name them by hash. Connections live on the runtime that this is called on.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(
        settings: &RedisSettings,
        scripts: &'static [&'static str],
    ) -> Result<Self, redis::RedisError> {
        let inner = Inner {
            client: link::client(settings)?,
            budget: settings.timeout,
            scripts,
            breaker: Breaker::new("redis"),
            link: watch::Sender::new(None),
            connecting: AtomicBool::new(false),
            runtime: Handle::current(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Sends a pipeline and waits for all of its answers, within the budget.
    ///
    /// # Errors
    /// [`RedisError`]. After any but [`RedisError::Open`] the commands may have been executed, and
    /// may still be.
    pub async fn call<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Answer<T>, RedisError> {
        let permit = self.inner.breaker.permit()?;
        let mut used = None;
        let budget = self.inner.budget;
        let outcome = tokio::time::timeout(budget, self.send(pipeline, &mut used)).await;
        let failure = match outcome {
            Ok(Ok(answer)) => {
                permit.succeeded();
                return Ok(answer);
            }
            Ok(Err(error)) => RedisError::Failed(error),
            Err(_) => RedisError::TimedOut(budget),
        };
        permit.failed();
        // Also after a mere timeout, and after an answer that makes no sense: a fresh connection
        // has the scripts and no replies in flight.
        if let Some(link) = used {
            self.drop_link(&link, &failure);
        }
        Err(failure)
    }

    async fn send<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        used: &mut Option<Arc<Link>>,
    ) -> Result<Answer<T>, redis::RedisError> {
        let link = self.link().await;
        let link: &Arc<Link> = used.insert(link);
        let mut connection = link.connection.clone();
        let value = pipeline.query_async(&mut connection).await?;
        Ok(Answer {
            value,
            run_id: Arc::clone(&link.run_id),
        })
    }

    /// What the breaker lets through.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.breaker.state()
    }

    /// The messages of a channel, until the connection ends; then subscribe again.
    ///
    /// # Errors
    /// When the server does not take the subscription within a second.
    pub async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<impl Stream<Item = Vec<u8>> + Send + 'static, RedisError> {
        let subscribing = async {
            let mut pubsub = self.inner.client.get_async_pubsub().await?;
            pubsub.subscribe(channel).await?;
            Ok(pubsub.into_on_message())
        };
        match tokio::time::timeout(CONNECT_MAX, subscribing).await {
            Ok(Ok(messages)) => Ok(messages.map(|message| message.get_payload_bytes().to_vec())),
            Ok(Err(error)) => Err(RedisError::Failed(error)),
            Err(_) => Err(RedisError::TimedOut(CONNECT_MAX)),
        }
    }

    /// The connection, or the wait for it, which the caller bounds.
    async fn link(&self) -> Arc<Link> {
        let mut links = self.inner.link.subscribe();
        loop {
            if let Some(link) = links.borrow_and_update().clone() {
                return link;
            }
            self.connect_in_background();
            // The sender lives as long as this client.
            let _ = links.changed().await;
        }
    }

    fn connect_in_background(&self) {
        if self.inner.connecting.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            let connecting = Link::connect(&inner.client, inner.scripts);
            let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
            inner.connecting.store(false, Ordering::Release);
            match connected {
                Ok(Ok(link)) => {
                    tracing::info!(run_id = &*link.run_id, "connected to Redis");
                    inner.link.send_replace(Some(Arc::new(link)));
                }
                Ok(Err(error)) => tracing::debug!(%error, "Redis cannot be reached"),
                Err(_) => tracing::debug!("Redis cannot be reached in time"),
            }
        });
    }

    fn drop_link(&self, failed: &Arc<Link>, failure: &RedisError) {
        let dropped = self.inner.link.send_if_modified(|current| {
            let is_current = current.as_ref().is_some_and(|one| Arc::ptr_eq(one, failed));
            if is_current {
                *current = None;
            }
            is_current
        });
        if dropped {
            let error = crate::telemetry::chain(failure);
            tracing::warn!(%error, "Redis failed; the connection is made anew");
        }
    }
}
