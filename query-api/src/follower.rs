//! Follows the view: looks at the primary at least every second, every 5 ms while a read waits for
//! its token, and at once when somebody says that a batch was applied. Nobody polls when nobody
//! waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use events::{ConsistencyToken, Partition};
use read_model::Applied;
use read_model::user_view::NAME;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;
use crate::metrics;
use crate::outlook::{Judgement, LookError, Outlook, look};

/// The longest that generation and incarnation are believed unseen.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often to look while a read waits, behind the notifications.
const LOOK_WHILE_WAITING: Duration = Duration::from_millis(5);
/// How often to look while the database does not answer.
const LOOK_WHILE_DOWN: Duration = Duration::from_millis(250);

/// Follows `user_view`.
#[derive(Debug)]
pub(crate) struct Follower {
    pool: PgPool,
    runtime: Handle,
    outlook: watch::Sender<Option<Arc<Outlook>>>,
    waiters: AtomicUsize,
    nudge: Notify,
    down: AtomicBool,
    look_every: Duration,
    /// Looks are taken one after the other; each has a number.
    looking: Mutex<()>,
    begun: AtomicU64,
    finished: AtomicU64,
}

/// A read that waits; the follower looks more often while there is one.
struct Waiting<'f>(&'f Follower);

impl<'f> Waiting<'f> {
    fn begin(follower: &'f Follower) -> Self {
        follower.waiters.fetch_add(1, Ordering::AcqRel);
        follower.nudge.notify_one();
        Self(follower)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Follower {
    /// A follower that has not looked yet; the pool needs one connection. It looks at least so
    /// often, on the runtime that this is called on.
    #[must_use]
    pub(crate) fn new(pool: PgPool, look_every: Duration) -> Self {
        Self {
            pool,
            runtime: Handle::current(),
            outlook: watch::Sender::new(None),
            waiters: AtomicUsize::new(0),
            nudge: Notify::new(),
            down: AtomicBool::new(false),
            look_every,
            looking: Mutex::new(()),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(&self) {
        loop {
            // What failed is said where it is noticed; here it only changes the pace.
            let _ = self.look_afresh().await;
            let pause = if self.is_down() {
                LOOK_WHILE_DOWN
            } else if self.waiters.load(Ordering::Acquire) > 0 {
                LOOK_WHILE_WAITING
            } else {
                self.look_every
            };
            let _ = tokio::time::timeout(pause, self.nudge.notified()).await;
        }
    }

    /// Somebody knows that there is something new; without waiters the next look is early enough.
    pub(crate) fn wake(&self) {
        if self.waiters.load(Ordering::Acquire) > 0 {
            self.nudge.notify_one();
        }
    }

    /// A new connection was opened: perhaps to another server than before.
    pub(crate) fn look_soon(&self) {
        self.nudge.notify_one();
    }

    /// The engine in this process applied a batch.
    pub(crate) fn applied(&self, news: &Applied) {
        if news.projection != NAME {
            return;
        }
        self.outlook.send_if_modified(|outlook| {
            let later = outlook
                .as_ref()
                .and_then(|known| known.advanced(news.generation, news.partition, news.position));
            let moved = later.is_some();
            if let Some(later) = later {
                *outlook = Some(Arc::new(later));
            }
            moved
        });
    }

    /// The last look; none before the first that showed something.
    pub(crate) fn outlook(&self) -> Option<Arc<Outlook>> {
        self.outlook.borrow().clone()
    }

    /// Told of every look that showed something else.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Outlook>>> {
        self.outlook.subscribe()
    }

    /// Whether the database did not answer when it was last asked.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// A read failed because the database does not answer: no other one needs to find out.
    pub(crate) fn went_down(&self) {
        if !self.down.swap(true, Ordering::AcqRel) {
            tracing::warn!("the database does not answer; cached answers are served, marked stale");
            self.nudge.notify_one();
        }
    }

    /// A look that begins after this call; calls at the same time share one.
    ///
    /// # Errors
    /// [`Failure::StoreDown`] when the primary cannot be asked.
    pub(crate) async fn look_afresh(&self) -> Result<Arc<Outlook>, Failure> {
        let begun_before = self.begun.load(Ordering::Acquire);
        let _one_at_a_time = self.looking.lock().await;
        if self.finished.load(Ordering::Acquire) > begun_before {
            return self.known();
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let looked = self.look().await;
        self.finished.store(number, Ordering::Release);
        match looked {
            Ok(outlook) => {
                if self.down.swap(false, Ordering::AcqRel) {
                    tracing::info!("the database answers again");
                }
                let outlook = Arc::new(outlook);
                self.outlook.send_replace(Some(Arc::clone(&outlook)));
                Ok(outlook)
            }
            Err(error) => Err(self.not_shown(&error)),
        }
    }

    /// On the process's runtime: a connection that is opened on the runtime of an actix worker ends
    /// with that worker, under whoever uses it then.
    async fn look(&self) -> Result<Outlook, LookError> {
        let (pool, before) = (self.pool.clone(), self.outlook());
        let look = self.runtime.spawn(async move {
            let mut connection = pool.acquire().await?;
            look(&mut connection, NAME, before.as_deref()).await
        });
        let lost = |_| Err(sqlx::Error::WorkerCrashed.into());
        look.await.unwrap_or_else(lost)
    }

    fn not_shown(&self, error: &LookError) -> Failure {
        tracing::debug!(error = %platform::telemetry::chain(error), "no look at the store");
        match error {
            LookError::NoStore => Failure::Filling,
            LookError::Database(error) if crate::failure::is_missing_relation(error) => {
                Failure::Filling
            }
            LookError::Database(_) | LookError::Replica => {
                self.went_down();
                Failure::StoreDown
            }
        }
    }

    /// The last look, when the database answered it.
    ///
    /// # Errors
    /// [`Failure::StoreDown`].
    pub(crate) fn known(&self) -> Result<Arc<Outlook>, Failure> {
        if self.is_down() {
            return Err(Failure::StoreDown);
        }
        self.outlook().ok_or(Failure::Filling)
    }

    /// Says what is wrong with a token. Only a fresh look at the primary can call it unknown or
    /// lost; what the last look shows as good is good.
    ///
    /// # Errors
    /// [`Failure::TokenUnknown`], [`Failure::WriteLost`], or that the primary cannot be asked.
    pub(crate) async fn judge(
        &self,
        outlook: &Arc<Outlook>,
        token: &ConsistencyToken,
    ) -> Result<Arc<Outlook>, Failure> {
        if outlook.judge(token) == Judgement::Good {
            return Ok(Arc::clone(outlook));
        }
        let fresh = self.look_afresh().await?;
        match fresh.judge(token) {
            Judgement::Good => Ok(fresh),
            Judgement::Unknown => Err(Failure::TokenUnknown),
            Judgement::Void => Err(Failure::WriteLost),
        }
    }

    /// Waits until the checkpoints of these partitions are at these positions or beyond; false when
    /// `deadline` came first.
    pub(crate) async fn reach(&self, needed: &[(Partition, i64)], deadline: Instant) -> bool {
        let reached = |outlook: &Option<Arc<Outlook>>| {
            outlook.as_ref().is_some_and(|outlook| {
                let there =
                    |(partition, position): &(_, _)| outlook.applied(*partition) >= *position;
                needed.iter().all(there)
            })
        };
        if reached(&self.outlook.borrow()) {
            return true;
        }
        let begun = Instant::now();
        let mut changes = self.outlook.subscribe();
        let waiting = Waiting::begin(self);
        let reached = timeout_at(deadline, changes.wait_for(reached)).await;
        drop(waiting);
        let reached = matches!(reached, Ok(Ok(_)));
        metrics::waited(begun.elapsed(), reached);
        reached
    }
}
