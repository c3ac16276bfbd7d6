//! The read path: in-process cache, then Redis, then PostgreSQL, with one flight per key; a read
//! with a token waits for its position, and while the database fails what is kept is served,
//! marked.

use std::sync::Arc;

use events::{Partition, Scope};
use read_model::user_view::UserKey;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::time::Instant as Deadline;
use uuid::Uuid;

use crate::cursor::Cursors;
use crate::demand::Demand;
use crate::failure::Failure;
use crate::flight::Flights;
use crate::follower::Follower;
use crate::l1::{L1, Page, PageKey};
use crate::metrics::{InShared, Kind, Lookup, looked_up, looked_up_shared};
use crate::outlook::{Judgement, Outlook};
use crate::parked::Parked;
use crate::shared_cache::{SharedCache, Vacancy};
use crate::shared_reads::{Shared, is_good};
use crate::user_entry::UserEntry;

/// Why an answer may be older than it should be; the header `Runnel-Stale` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// The database does not answer.
    StoreDown,
    /// An event of it waits for an operator.
    Parked,
    /// The view is behind the token, and the client would rather have this than nothing.
    NotCaughtUp,
}

impl Stale {
    /// The word in the header.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::StoreDown => "store_down",
            Self::Parked => "parked",
            Self::NotCaughtUp => "not_caught_up",
        }
    }
}

/// An answer, and what is wrong with it if anything is.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    /// The answer.
    pub(crate) value: T,
    /// Why it may be old.
    pub(crate) stale: Option<Stale>,
}

/// Reads for all worker threads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) pool: PgPool,
    pub(crate) follower: Arc<Follower>,
    pub(crate) l1: Arc<L1>,
    /// Redis, where there is one.
    pub(crate) shared: Option<Arc<SharedCache>>,
    pub(crate) parked: Parked,
    pub(crate) cursors: Cursors,
    user_flights: Flights<UserKey, Arc<UserEntry>>,
    pub(crate) shared_flights: Flights<UserKey, Shared>,
    pub(crate) page_flights: Flights<PageKey, Arc<Page>>,
    pub(crate) runtime: Handle,
}

impl Reader {
    /// A reader of a pool whose connections have the hot statements prepared. Reads will run on the
    /// runtime that this is called on.
    #[must_use]
    pub(crate) fn new(
        pool: PgPool,
        follower: Arc<Follower>,
        l1: Arc<L1>,
        shared: Option<Arc<SharedCache>>,
        cursors: Cursors,
    ) -> Self {
        Self {
            pool,
            follower,
            l1,
            shared,
            cursors,
            parked: Parked::default(),
            user_flights: Flights::on(Handle::current()),
            shared_flights: Flights::on(Handle::current()),
            page_flights: Flights::on(Handle::current()),
            runtime: Handle::current(),
        }
    }

    /// What the process has of one user, when it is fresh and shows enough: the way of most reads,
    /// without waiting for anything. None when [`Self::user`] has to look further.
    pub(crate) fn user_at_hand(
        &self,
        scope: &Scope,
        id: Uuid,
        demand: &Demand,
    ) -> Option<Result<Found<Arc<UserEntry>>, Failure>> {
        let outlook = self.follower.outlook()?;
        let judged = |token| outlook.judge(token) == Judgement::Good;
        if !demand.token.as_ref().is_none_or(judged) {
            return None;
        }
        let key = UserKey {
            tenant: scope.tenant.clone(),
            id,
        };
        hit(&self.l1.user(&key)?, &outlook, demand)
    }

    /// One user, or the knowledge that there is none.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn user(
        self: &Arc<Self>,
        scope: &Scope,
        id: Uuid,
        demand: &Demand,
    ) -> Result<Found<Arc<UserEntry>>, Failure> {
        let key = UserKey {
            tenant: scope.tenant.clone(),
            id,
        };
        let cached = self.l1.user(&key);
        let outlook = match self.outlook(demand).await {
            Ok(outlook) => outlook,
            Err(failure) => return self.stale_user(failure, cached, demand),
        };
        if let Some(found) = cached
            .as_ref()
            .and_then(|entry| hit(entry, &outlook, demand))
        {
            return found;
        }
        let cached = cached.filter(|entry| !outlook.is_lost(entry.stamp));
        let partition = partition_of(&outlook, &key);
        let needed = demand.needed(partition);
        looked_up(Kind::User, Lookup::Miss);
        let user = (&key, partition, needed);
        self.user_beyond_l1(scope, user, &outlook, cached, demand)
            .await
    }

    /// From Redis or PostgreSQL; when both fail, what is kept.
    async fn user_beyond_l1(
        self: &Arc<Self>,
        scope: &Scope,
        (key, partition, needed): (&UserKey, Partition, i64),
        outlook: &Arc<Outlook>,
        cached: Option<Arc<UserEntry>>,
        demand: &Demand,
    ) -> Result<Found<Arc<UserEntry>>, Failure> {
        let (mut kept, mut vacancy) = (cached, None);
        match self.user_from_redis(key, partition, outlook).await {
            Some(Shared::Entry(entry)) if is_good(&entry, needed, outlook) => {
                looked_up_shared(InShared::Hit);
                let parked = entry.parked;
                return judge_parked(entry, parked, needed, demand);
            }
            Some(Shared::Entry(entry)) => {
                looked_up_shared(InShared::Behind);
                kept = later(kept, Some(entry));
            }
            Some(Shared::Vacant(vacant)) => {
                looked_up_shared(InShared::Miss);
                vacancy = Some(vacant);
            }
            Some(Shared::Nothing) => looked_up_shared(InShared::Miss),
            Some(Shared::Failed) => looked_up_shared(InShared::Error),
            None => {}
        }
        let read = self.user_from_postgres(scope, (key, partition, needed), vacancy, demand);
        match read.await {
            Ok(entry) => {
                let parked = entry.parked;
                judge_parked(entry, parked, needed, demand)
            }
            Err(Failure::NotCaughtUp) if demand.lenient => {
                let entry = self.fly_user(scope, key, partition, None).await?;
                Ok(Found {
                    value: entry,
                    stale: Some(Stale::NotCaughtUp),
                })
            }
            Err(failure) => self.stale_user(failure, kept, demand),
        }
    }

    /// The last look, after it found the request's token good.
    pub(crate) async fn outlook(&self, demand: &Demand) -> Result<Arc<Outlook>, Failure> {
        let known = match self.follower.outlook() {
            Some(outlook) => outlook,
            None => self.follower.look_afresh().await?,
        };
        match &demand.token {
            None => Ok(known),
            Some(token) => self.follower.judge(&known, token).await,
        }
    }

    /// While the database fails, what is kept is served to those who ask for no position.
    fn stale_user(
        &self,
        failure: Failure,
        cached: Option<Arc<UserEntry>>,
        demand: &Demand,
    ) -> Result<Found<Arc<UserEntry>>, Failure> {
        let kept = cached.filter(|entry| entry.row.is_some());
        match (failure, kept) {
            (Failure::StoreDown, Some(entry)) if demand.token.is_none() => {
                looked_up(Kind::User, Lookup::Stale);
                Ok(Found {
                    value: entry,
                    stale: Some(Stale::StoreDown),
                })
            }
            _ => Err(failure),
        }
    }

    async fn user_from_postgres(
        self: &Arc<Self>,
        scope: &Scope,
        (key, partition, needed): (&UserKey, Partition, i64),
        vacancy: Option<Vacancy>,
        demand: &Demand,
    ) -> Result<Arc<UserEntry>, Failure> {
        let deadline = Deadline::now() + demand.wait;
        loop {
            let outlook = self.serving(&[partition]).await?;
            let goal = needed.max(outlook.seen(partition));
            if !self.follower.reach(&[(partition, goal)], deadline).await {
                return Err(Failure::NotCaughtUp);
            }
            let entry = self
                .fly_user(scope, key, partition, vacancy.clone())
                .await?;
            if entry.stamp.address.position >= goal {
                return Ok(entry);
            }
            // The flight was on its way before the position was reached, or the database went back.
            if Deadline::now() >= deadline {
                return Err(Failure::NotCaughtUp);
            }
            self.follower.look_afresh().await?;
        }
    }

    async fn fly_user(
        self: &Arc<Self>,
        scope: &Scope,
        key: &UserKey,
        partition: Partition,
        vacancy: Option<Vacancy>,
    ) -> Result<Arc<UserEntry>, Failure> {
        let read = || {
            let (reader, scope, key) = (Arc::clone(self), scope.clone(), key.clone());
            async move {
                let read = reader.load_user(&scope, key, partition);
                let vacancies = vacancy.into_iter().collect();
                reader.filling(vacancies, read, std::slice::from_ref).await
            }
        };
        let flown = self.user_flights.join(key, read).await;
        self.noticed(flown)
    }

    /// The last look, when it shows the partitions as served; else a fresh one decides.
    pub(crate) async fn serving(&self, partitions: &[Partition]) -> Result<Arc<Outlook>, Failure> {
        let serves = |outlook: &Outlook| partitions.iter().all(|one| outlook.serves(*one));
        let known = self.follower.known()?;
        if serves(&known) {
            return Ok(known);
        }
        let fresh = self.follower.look_afresh().await?;
        if serves(&fresh) {
            Ok(fresh)
        } else {
            Err(Failure::Filling)
        }
    }

    /// Who finds the database down tells the others.
    pub(crate) fn noticed<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if matches!(result, Err(Failure::StoreDown)) {
            self.follower.went_down();
        }
        result
    }
}

/// A cached entry as an answer, when it is fresh and shows enough.
fn hit(
    entry: &Arc<UserEntry>,
    outlook: &Outlook,
    demand: &Demand,
) -> Option<Result<Found<Arc<UserEntry>>, Failure>> {
    let needed = demand.needed(entry.stamp.address.partition);
    let good = !outlook.is_lost(entry.stamp)
        && entry.fresh.is_fresh()
        && entry.stamp.address.position >= needed;
    good.then(|| {
        let found = match entry.row {
            None => Lookup::Negative,
            Some(_) => Lookup::Hit,
        };
        looked_up(Kind::User, found);
        judge_parked(Arc::clone(entry), entry.parked, needed, demand)
    })
}

/// The later of two readings.
pub(crate) fn later(
    one: Option<Arc<UserEntry>>,
    other: Option<Arc<UserEntry>>,
) -> Option<Arc<UserEntry>> {
    match (one, other) {
        (Some(one), Some(other)) if one.is_later_than(&other) => Some(one),
        (one, other) => other.or(one),
    }
}

/// Where a user lives.
pub(crate) fn partition_of(outlook: &Outlook, key: &UserKey) -> Partition {
    let mut text = Uuid::encode_buffer();
    let routing_key = key.id.hyphenated().encode_lower(&mut text);
    outlook.partitions().partition_of(&key.tenant, routing_key)
}

/// A token at or after the first parked position of its key asks for what nobody can show; without
/// one the answer is marked.
pub(crate) fn judge_parked<T>(
    value: T,
    parked: Option<i64>,
    needed: i64,
    demand: &Demand,
) -> Result<Found<T>, Failure> {
    match parked {
        None => Ok(Found { value, stale: None }),
        Some(position) if needed >= position && !demand.lenient => Err(Failure::Parked),
        Some(_) => Ok(Found {
            value,
            stale: Some(Stale::Parked),
        }),
    }
}
