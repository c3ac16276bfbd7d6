//! Single flight: readers of one key at the same time share one read. The read is a task of its
//! own, so that the reader that began it may go away, and on the runtime that the reads were made
//! for: a worker's own ends with the worker, and would take along reads that others have joined and
//! connections that it has opened.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use tokio::runtime::Handle;

use crate::failure::Failure;

type Flight<V> = Shared<BoxFuture<'static, Result<V, Failure>>>;

/// The reads that are on their way.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, Flight<V>>>>,
    runtime: Handle,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// None yet; reads will run on this runtime.
    pub(crate) fn on(runtime: Handle) -> Self {
        let running = Arc::default();
        Self { running, runtime }
    }

    /// Joins the read of `key` that is on its way, or begins `read`.
    ///
    /// # Errors
    /// The read's; [`Failure::Internal`] when it panicked.
    pub(crate) async fn join<F>(&self, key: &K, read: impl FnOnce() -> F) -> Result<V, Failure>
    where
        F: Future<Output = Result<V, Failure>> + Send + 'static,
    {
        let flight = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            match running.get(key) {
                Some(flight) => flight.clone(),
                None => {
                    let landing = Landing {
                        running: Arc::clone(&self.running),
                        key: key.clone(),
                    };
                    let flight = begin(&self.runtime, read(), landing);
                    running.insert(key.clone(), flight.clone());
                    flight
                }
            }
        };
        flight.await
    }
}

/// Takes the flight off the table when its task ends, also by a panic.
struct Landing<K: Eq + Hash, V> {
    running: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.key);
    }
}

fn begin<K, V, F>(runtime: &Handle, read: F, landing: Landing<K, V>) -> Flight<V>
where
    K: Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
    F: Future<Output = Result<V, Failure>> + Send + 'static,
{
    let task = runtime.spawn(async move {
        let result = read.await;
        drop(landing);
        result
    });
    async move { task.await.unwrap_or(Err(Failure::Internal)) }
        .boxed()
        .shared()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn readers_at_the_same_time_share_one_read_and_the_next_reads_again() {
        let flights = Flights::on(Handle::current());
        let reads = Arc::new(AtomicUsize::new(0));
        let one = || {
            let reads = Arc::clone(&reads);
            async move {
                tokio::task::yield_now().await;
                Ok(reads.fetch_add(1, Ordering::AcqRel))
            }
        };
        let together = futures_util::future::join_all((0..10).map(|_| flights.join(&1, one))).await;
        assert_eq!(together, vec![Ok(0); 10]);
        assert_eq!(flights.join(&1, one).await, Ok(1));
    }

    #[tokio::test]
    async fn a_read_that_panics_fails_its_readers_and_is_forgotten() {
        let flights: Flights<u8, u8> = Flights::on(Handle::current());
        let panicking = || async { panic!("a bug") };
        assert_eq!(flights.join(&1, panicking).await, Err(Failure::Internal));
        assert_eq!(flights.join(&1, || async { Ok(2) }).await, Ok(2));
    }
}
