//! Reads of pages: the same path as that of a single user ([`crate::reader`]), but every partition
//! feeds them.

use std::sync::Arc;
use std::time::Instant;

use events::{Partition, Scope};
use tokio::time::Instant as Deadline;

use crate::demand::Demand;
use crate::failure::Failure;
use crate::l1::{Page, PageKey};
use crate::metrics::{Kind, Lookup, looked_up};
use crate::outlook::Outlook;
use crate::reader::{Found, Reader, Stale, judge_parked};

impl Reader {
    /// One page; see [`Self::user`].
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn page(
        self: &Arc<Self>,
        scope: &Scope,
        key: &PageKey,
        demand: &Demand,
    ) -> Result<Found<Arc<Page>>, Failure> {
        let outlook = self.outlook(demand).await;
        let kept = |page: &Arc<Page>| match &outlook {
            Ok(outlook) => !page.as_of.iter().any(|stamp| outlook.is_lost(*stamp)),
            Err(_) => true,
        };
        let cached = self.l1.page(key).filter(kept);
        let stale = |failure| match (failure, &cached) {
            (Failure::StoreDown, Some(page)) if demand.token.is_none() => {
                looked_up(Kind::List, Lookup::Stale);
                Ok(Found {
                    value: Arc::clone(page),
                    stale: Some(Stale::StoreDown),
                })
            }
            (failure, _) => Err(failure),
        };
        if let Err(failure) = outlook {
            return stale(failure);
        }
        let needed = demand.needed_everywhere();
        if let Some(page) = &cached
            && page.fresh.is_fresh()
            && shows(page, &needed)
        {
            looked_up(Kind::List, Lookup::Hit);
            return judge_parked_page(page, &needed, demand);
        }
        looked_up(Kind::List, Lookup::Miss);
        match self.page_from_postgres(scope, key, &needed, demand).await {
            Ok(page) => judge_parked_page(&page, &needed, demand),
            Err(Failure::NotCaughtUp) if demand.lenient => {
                let page = self.fly_page(scope, key).await?;
                Ok(Found {
                    value: page,
                    stale: Some(Stale::NotCaughtUp),
                })
            }
            Err(failure) => stale(failure),
        }
    }

    async fn page_from_postgres(
        self: &Arc<Self>,
        scope: &Scope,
        key: &PageKey,
        needed: &[(Partition, i64)],
        demand: &Demand,
    ) -> Result<Arc<Page>, Failure> {
        let deadline = Deadline::now() + demand.wait;
        loop {
            let partitions: Vec<_> = self.follower.known()?.partitions().iter().collect();
            let outlook = self.serving(&partitions).await?;
            let goal = goal(&outlook, needed);
            if !self.follower.reach(&goal, deadline).await {
                return Err(Failure::NotCaughtUp);
            }
            let page = self.fly_page(scope, key).await?;
            if shows(&page, &goal) {
                return Ok(page);
            }
            if Deadline::now() >= deadline {
                return Err(Failure::NotCaughtUp);
            }
            self.follower.look_afresh().await?;
        }
    }

    async fn fly_page(
        self: &Arc<Self>,
        scope: &Scope,
        key: &PageKey,
    ) -> Result<Arc<Page>, Failure> {
        let read = || {
            let (reader, scope, key) = (Arc::clone(self), scope.clone(), key.clone());
            async move { reader.load_page(&scope, key, Instant::now()).await }
        };
        let flown = self.page_flights.join(key, read).await;
        self.noticed(flown)
    }
}

/// What a read of every partition must show: the token's positions, and nowhere less than what
/// PostgreSQL has shown before.
fn goal(outlook: &Outlook, needed: &[(Partition, i64)]) -> Vec<(Partition, i64)> {
    let asked = |partition| {
        let here = needed.iter().filter(|(other, _)| *other == partition);
        here.map(|(_, position)| *position).max().unwrap_or(0)
    };
    let partitions = outlook.partitions();
    partitions
        .iter()
        .map(|partition| (partition, asked(partition).max(outlook.seen(partition))))
        .collect()
}

fn shows(page: &Page, needed: &[(Partition, i64)]) -> bool {
    let shown = |partition| {
        let here = page
            .as_of
            .iter()
            .find(|entry| entry.address.partition == partition);
        here.map_or(0, |entry| entry.address.position)
    };
    needed
        .iter()
        .all(|(partition, position)| shown(*partition) >= *position)
}

fn judge_parked_page(
    page: &Arc<Page>,
    needed: &[(Partition, i64)],
    demand: &Demand,
) -> Result<Found<Arc<Page>>, Failure> {
    let asked_for = page.parked.iter().find(|(partition, first)| {
        needed
            .iter()
            .any(|(other, position)| other == partition && position >= first)
    });
    let marked = asked_for.or_else(|| page.parked.first());
    let needed = if asked_for.is_some() { i64::MAX } else { 0 };
    judge_parked(
        Arc::clone(page),
        marked.map(|(_, first)| *first),
        needed,
        demand,
    )
}
