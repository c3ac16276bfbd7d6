//! Reads through Redis: between the in-process cache and PostgreSQL, by the leader of a flight
//! only.
//!
//! How old may such an answer be? A value that reaches the checkpoint which the last look at
//! PostgreSQL showed is as current as that look, so it is fresh for `CACHE_L1_FRESH` after the look
//! and not after the call to Redis: the published bound holds although Redis is filled by others.
//! Any other value is kept for the time when PostgreSQL fails, and PostgreSQL is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::{Partition, Scope, TokenEntry};
use read_model::user_view::UserKey;
use uuid::Uuid;

use crate::batch::Entries;
use crate::demand::Demand;
use crate::l1::Freshness;
use crate::metrics::{self, InShared};
use crate::outlook::Outlook;
use crate::reader::Reader;
use crate::shared_cache::{Finding, Shelf, Vacancy, Value};
use crate::user_entry::{ReadAt, UserEntry};

/// What a flight to Redis brought.
#[derive(Clone, Debug)]
pub(crate) enum Shared {
    /// A value, not always one that is good for every reader.
    Entry(Arc<UserEntry>),
    /// Nothing, and where it can be filled in.
    Vacant(Vacancy),
    /// Nothing.
    Nothing,
    /// Redis does not answer.
    Failed,
}

/// What Redis had of several users.
#[derive(Debug, Default)]
pub(crate) struct SharedBatch {
    /// What is good for this reader.
    pub(crate) good: Entries,
    /// What it had besides; good enough while PostgreSQL fails.
    pub(crate) kept: Entries,
    /// Where values are missing.
    pub(crate) vacancies: Vec<Vacancy>,
}

impl Reader {
    /// One user from Redis; none when there is no Redis or it is no use to ask.
    pub(crate) async fn user_from_redis(
        self: &Arc<Self>,
        key: &UserKey,
        partition: Partition,
        outlook: &Arc<Outlook>,
    ) -> Option<Shared> {
        if !self.may_ask_redis(outlook, key, partition) {
            return None;
        }
        let read = || {
            let (reader, key, outlook) = (Arc::clone(self), key.clone(), Arc::clone(outlook));
            async move {
                let found = reader.look_up(&outlook, vec![(key, partition)]).await;
                Ok(found.into_iter().next().unwrap_or(Shared::Failed))
            }
        };
        let flown = self.shared_flights.join(key, read).await;
        Some(flown.unwrap_or(Shared::Failed))
    }

    /// Whether what Redis has of a user may be shown: the view is served, and no event of the user
    /// was parked when the store was last looked at. (Nothing that is parked since is in Redis.)
    fn may_ask_redis(&self, outlook: &Outlook, key: &UserKey, partition: Partition) -> bool {
        if self.shared.is_none() || !outlook.serves(partition) {
            return false;
        }
        let standing = outlook.standing.as_ref();
        let set = standing.and_then(|standing| {
            let checkpoint = standing.of(partition)?;
            self.parked.of(standing.generation, checkpoint)
        });
        set.is_some_and(|set| set.of_key(&key.tenant, &key.id.to_string()).is_none())
    }

    async fn look_up(&self, outlook: &Outlook, users: Vec<(UserKey, Partition)>) -> Vec<Shared> {
        let found = match (&self.shared, Shelf::of(outlook)) {
            (Some(shared), Some(shelf)) => shared.look_up(&shelf, &users).await,
            _ => return users.iter().map(|_| Shared::Nothing).collect(),
        };
        let Some(found) = found else {
            return users.iter().map(|_| Shared::Failed).collect();
        };
        let told = users.into_iter().zip(found);
        told.map(|((key, _), finding)| match finding {
            Finding::Value(value) => Shared::Entry(self.keep_shared(key, value, outlook)),
            Finding::Vacant(vacancy) => Shared::Vacant(vacancy),
            Finding::Nothing => Shared::Nothing,
        })
        .collect()
    }

    fn keep_shared(&self, key: UserKey, value: Value, outlook: &Outlook) -> Arc<UserEntry> {
        let fresh = Freshness::from(outlook.looked_at(), self.l1.fresh);
        let Value {
            row,
            stamp,
            revision,
            generation,
        } = value;
        if stamp.address.position < outlook.looked(stamp.address.partition) {
            fresh.touch();
        }
        let read_at = ReadAt {
            stamp,
            revision,
            generation,
        };
        let entry = UserEntry::new(key, Some(row), read_at, None, fresh);
        self.keep_entry(entry)
    }

    /// Several users from Redis, in one pipeline and in a task of its own, as [`crate::flight`]
    /// says.
    ///
    /// As in the in-process cache, entries of one partition are of one reading or none of them is
    /// used: all values that are not later than the mark are true as of the mark.
    pub(crate) async fn users_from_redis(
        self: &Arc<Self>,
        scope: &Scope,
        wanted: &[(Uuid, Partition)],
        outlook: &Arc<Outlook>,
        demand: &Demand,
    ) -> SharedBatch {
        let asked: Vec<(UserKey, Partition)> = wanted
            .iter()
            .map(|(id, partition)| {
                let tenant = scope.tenant.clone();
                (UserKey { tenant, id: *id }, *partition)
            })
            .filter(|(key, partition)| self.may_ask_redis(outlook, key, *partition))
            .collect();
        if asked.is_empty() {
            return SharedBatch::default();
        }
        let (reader, of_task) = (Arc::clone(self), Arc::clone(outlook));
        let users = asked.clone();
        let read = self
            .runtime
            .spawn(async move { reader.look_up(&of_task, users).await });
        let found = read.await.unwrap_or_default();
        let mut partitions: BTreeMap<Partition, Vec<(Uuid, Shared)>> = BTreeMap::new();
        for ((key, partition), shared) in asked.into_iter().zip(found) {
            partitions
                .entry(partition)
                .or_default()
                .push((key.id, shared));
        }
        let mut batch = SharedBatch::default();
        for (partition, users) in partitions {
            let expected = wanted.iter().filter(|(_, one)| *one == partition).count();
            let needed = demand.needed(partition);
            let complete = users.len() == expected && one_reading(&users, needed, outlook);
            users
                .into_iter()
                .for_each(|(id, shared)| batch.add(id, shared, complete));
        }
        batch
    }

    /// Reads from PostgreSQL, and fills in what is missing in Redis with what it read.
    pub(crate) async fn filling<T, E>(
        self: &Arc<Self>,
        vacancies: Vec<Vacancy>,
        read: impl Future<Output = Result<T, E>>,
        entries: impl FnOnce(&T) -> &[Arc<UserEntry>],
    ) -> Result<T, E> {
        let fill = match &self.shared {
            Some(shared) => shared.begin_fill(vacancies).await,
            None => None,
        };
        let read = read.await?;
        if let (Some(shared), Some(fill)) = (&self.shared, fill) {
            shared.finish_fill(fill, entries(&read));
        }
        Ok(read)
    }
}

impl SharedBatch {
    fn add(&mut self, id: Uuid, shared: Shared, complete: bool) {
        metrics::looked_up_shared(match &shared {
            Shared::Entry(_) if complete => InShared::Hit,
            Shared::Entry(_) => InShared::Behind,
            Shared::Vacant(_) | Shared::Nothing => InShared::Miss,
            Shared::Failed => InShared::Error,
        });
        match shared {
            Shared::Entry(entry) if complete => _ = self.good.insert(id, entry),
            Shared::Entry(entry) => _ = self.kept.insert(id, entry),
            Shared::Vacant(vacancy) => self.vacancies.push(vacancy),
            Shared::Nothing | Shared::Failed => {}
        }
    }
}

/// Whether an entry of Redis is good for a reader that needs this position.
pub(crate) fn is_good(entry: &UserEntry, needed: i64, outlook: &Outlook) -> bool {
    entry.fresh.is_fresh()
        && entry.stamp.address.position >= needed
        && !outlook.is_lost(entry.stamp)
}

fn one_reading(users: &[(Uuid, Shared)], needed: i64, outlook: &Outlook) -> bool {
    let mut first: Option<TokenEntry> = None;
    users.iter().all(|(_, shared)| match shared {
        Shared::Entry(entry) => {
            is_good(entry, needed, outlook) && *first.get_or_insert(entry.stamp) == entry.stamp
        }
        _ => false,
    })
}
