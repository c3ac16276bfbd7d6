//! Several users by id: those that the caches have, and one read for the rest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use events::{Partition, Scope, TokenEntry};
use read_model::user_view::UserKey;
use tokio::time::Instant as Deadline;
use uuid::Uuid;

use crate::demand::Demand;
use crate::failure::Failure;
use crate::metrics::{Kind, Lookup, looked_up};
use crate::outlook::Outlook;
use crate::reader::{Found, Reader, Stale, judge_parked, later, partition_of};
use crate::shared_cache::Vacancy;
use crate::shared_reads::SharedBatch;
use crate::user_entry::UserEntry;

/// Entries by user.
pub(crate) type Entries = HashMap<Uuid, Arc<UserEntry>>;

impl Reader {
    /// An entry for each of the ids, whether the user exists or not.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn users(
        self: &Arc<Self>,
        scope: &Scope,
        ids: &[Uuid],
        demand: &Demand,
    ) -> Result<Found<Entries>, Failure> {
        let outlook = self.outlook(demand).await;
        let (mut entries, mut missing) = self.cached(scope, ids, demand, outlook.as_ref().ok());
        let mut kept = Entries::new();
        let read = match outlook {
            Err(failure) => Err(failure),
            Ok(_) if missing.is_empty() => Ok(Vec::new()),
            Ok(outlook) => {
                let shared = self.users_from_redis(scope, &missing, &outlook, demand);
                let SharedBatch {
                    good,
                    kept: old,
                    vacancies,
                } = shared.await;
                missing.retain(|(id, _)| !good.contains_key(id));
                entries.extend(good);
                kept = old;
                self.users_from_postgres(scope, &missing, vacancies, demand)
                    .await
            }
        };
        let mut stale = None;
        match read {
            Ok(read) => entries.extend(read.into_iter().map(|entry| (entry.key.id, entry))),
            Err(Failure::NotCaughtUp) if demand.lenient => {
                stale = Some(Stale::NotCaughtUp);
                let read = self.read_users(scope, &missing, Vec::new()).await?;
                entries.extend(read.into_iter().map(|entry| (entry.key.id, entry)));
            }
            Err(failure) => {
                stale = Some(Stale::StoreDown);
                self.add_stale(scope, ids, (&mut entries, kept), demand, failure)?;
            }
        }
        for entry in entries.values() {
            let needed = demand.needed(entry.stamp.address.partition);
            stale = stale.or(judge_parked((), entry.parked, needed, demand)?.stale);
        }
        Ok(Found {
            value: entries,
            stale,
        })
    }

    /// What the cache has that is fresh and shows enough, and what is missing.
    ///
    /// Entries of one partition are of one reading, or all of them are read again: the token of the
    /// answer is the oldest reading, and an entry newer than it could go back for a session that
    /// sends it back.
    fn cached(
        &self,
        scope: &Scope,
        ids: &[Uuid],
        demand: &Demand,
        outlook: Option<&Arc<Outlook>>,
    ) -> (Entries, Vec<(Uuid, Partition)>) {
        let Some(outlook) = outlook else {
            return (Entries::new(), Vec::new());
        };
        let mut partitions: BTreeMap<Partition, BTreeMap<Uuid, Option<Arc<UserEntry>>>> =
            BTreeMap::new();
        for id in ids {
            let key = UserKey {
                tenant: scope.tenant.clone(),
                id: *id,
            };
            let partition = partition_of(outlook, &key);
            let needed = demand.needed(partition);
            let usable = |entry: &Arc<UserEntry>| {
                entry.fresh.is_fresh()
                    && entry.stamp.address.position >= needed
                    && !outlook.is_lost(entry.stamp)
            };
            let of_partition = partitions.entry(partition).or_default();
            let look = || self.l1.user(&key).filter(usable);
            of_partition.entry(*id).or_insert_with(look);
        }
        let (mut entries, mut missing) = (Entries::new(), Vec::new());
        for (partition, users) in partitions {
            let mut stamps = users.values().map(|entry| entry.as_ref().map(|e| e.stamp));
            let first = stamps.next().flatten();
            let one_reading = first.is_some() && stamps.all(|stamp| stamp == first);
            for (id, entry) in users {
                match entry.filter(|_| one_reading) {
                    Some(entry) => {
                        looked_up(Kind::User, Lookup::Hit);
                        entries.insert(id, entry);
                    }
                    None => {
                        looked_up(Kind::User, Lookup::Miss);
                        missing.push((id, partition));
                    }
                }
            }
        }
        (entries, missing)
    }

    async fn users_from_postgres(
        self: &Arc<Self>,
        scope: &Scope,
        wanted: &[(Uuid, Partition)],
        mut vacancies: Vec<Vacancy>,
        demand: &Demand,
    ) -> Result<Vec<Arc<UserEntry>>, Failure> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Deadline::now() + demand.wait;
        let mut partitions: Vec<_> = wanted.iter().map(|(_, partition)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        loop {
            let outlook = self.serving(&partitions).await?;
            let goal: HashMap<_, _> = partitions
                .iter()
                .map(|one| (*one, demand.needed(*one).max(outlook.seen(*one))))
                .collect();
            let needed: Vec<_> = goal
                .iter()
                .map(|(one, position)| (*one, *position))
                .collect();
            if !self.follower.reach(&needed, deadline).await {
                return Err(Failure::NotCaughtUp);
            }
            let vacancies = std::mem::take(&mut vacancies);
            let read = self.read_users(scope, wanted, vacancies).await?;
            let shown = |entry: &Arc<UserEntry>| {
                let address = entry.stamp.address;
                goal.get(&address.partition)
                    .is_none_or(|goal| address.position >= *goal)
            };
            if read.iter().all(shown) {
                return Ok(read);
            }
            if Deadline::now() >= deadline {
                return Err(Failure::NotCaughtUp);
            }
            self.follower.look_afresh().await?;
        }
    }

    /// One read in a task of its own, as [`crate::flight`] says; which ids are asked for together
    /// is never the same twice, so nobody joins it.
    async fn read_users(
        self: &Arc<Self>,
        scope: &Scope,
        wanted: &[(Uuid, Partition)],
        vacancies: Vec<Vacancy>,
    ) -> Result<Vec<Arc<UserEntry>>, Failure> {
        let (reader, scope, wanted) = (Arc::clone(self), scope.clone(), wanted.to_vec());
        let read = self.runtime.spawn(async move {
            let read = reader.load_users(&scope, &wanted);
            reader.filling(vacancies, read, Vec::as_slice).await
        });
        self.noticed(read.await.unwrap_or(Err(Failure::Internal)))
    }

    /// While the database fails: everything from what is kept, or the failure.
    fn add_stale(
        &self,
        scope: &Scope,
        ids: &[Uuid],
        (entries, mut kept): (&mut Entries, Entries),
        demand: &Demand,
        failure: Failure,
    ) -> Result<(), Failure> {
        if failure != Failure::StoreDown || demand.token.is_some() {
            return Err(failure);
        }
        for id in ids
            .iter()
            .filter(|id| !entries.contains_key(*id))
            .collect::<Vec<_>>()
        {
            let key = UserKey {
                tenant: scope.tenant.clone(),
                id: *id,
            };
            let in_l1 = self.l1.user(&key).filter(|entry| entry.row.is_some());
            let kept = later(in_l1, kept.remove(id));
            entries.insert(*id, kept.ok_or(failure)?);
            looked_up(Kind::User, Lookup::Stale);
        }
        Ok(())
    }
}

/// What an answer of several users is true as of: of each partition the oldest reading.
pub(crate) fn as_of<'e>(entries: impl Iterator<Item = &'e Arc<UserEntry>>) -> Vec<TokenEntry> {
    let mut oldest: Vec<TokenEntry> = Vec::new();
    for entry in entries {
        let stamp = entry.stamp;
        let known = oldest
            .iter_mut()
            .find(|known| known.address.partition == stamp.address.partition);
        match known {
            None => oldest.push(stamp),
            Some(known) if stamp.address.position < known.address.position => *known = stamp,
            Some(_) => {}
        }
    }
    oldest.sort_unstable_by_key(|entry| entry.address.partition);
    oldest
}
