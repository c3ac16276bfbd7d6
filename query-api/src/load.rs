//! What is read from PostgreSQL: rows with the standing of the view that they are true as of, in
//! one statement, and whether anything of it is parked or lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use events::{Partition, Scope, TokenEntry};
use read_model::checkpoint::{Checkpoint, ParkedSet, Standing};
use read_model::user_view::reads::{self, Listed, ReadError};
use read_model::user_view::{UserKey, UserRow};
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Postgres};
use uuid::Uuid;

use crate::failure::{Failure, is_stale_plan};
use crate::l1::{Freshness, Page, PageKey, PageQuery};
use crate::page;
use crate::reader::Reader;
use crate::user_entry::{ReadAt, UserEntry};

/// How often a read is begun anew because the set of parked keys changed under it.
const PARKED_RETRIES: usize = 5;

type Conn = PoolConnection<Postgres>;
/// Which list.
#[derive(Clone, Copy)]
enum Wanted<'w> {
    Users(&'w [Uuid]),
    Page(&'w PageQuery),
}

type ParkedSets = BTreeMap<Partition, Arc<ParkedSet>>;

/// Runs a read, and once more with fresh statements when a switch of generations made the plan old.
macro_rules! fresh_plan {
    ($connection:expr, $read:expr) => {
        match $read.await {
            Err(ReadError::Database(error)) if is_stale_plan(&error) => {
                $connection
                    .clear_cached_statements()
                    .await
                    .map_err(|error| Failure::of_database(&error))?;
                $read.await
            }
            result => result,
        }
        .map_err(failure)?
    };
}

fn failure(error: ReadError) -> Failure {
    match error {
        ReadError::NotAllowed => Failure::NotAllowed,
        ReadError::Database(error) => Failure::of_database(&error),
    }
}

impl Reader {
    /// One user in one statement.
    pub(crate) async fn load_user(
        &self,
        scope: &Scope,
        key: UserKey,
        partition: Partition,
    ) -> Result<Arc<UserEntry>, Failure> {
        let begun = Instant::now();
        let mut connection = self.connection().await?;
        for _ in 0..PARKED_RETRIES {
            let read = fresh_plan!(
                connection,
                reads::by_id(&mut connection, scope, key.id, partition)
            );
            let (standing, row) = read.ok_or(Failure::Filling)?;
            let checkpoint = standing.checkpoints[0];
            self.check(&checkpoint).await?;
            if let Some(set) = self.parked.of(standing.generation, &checkpoint) {
                let parked = set.of_key(&key.tenant, &key.id.to_string());
                return Ok(self.keep_user(key, row, (&standing, &checkpoint), parked, begun));
            }
            // The row is read again after its set: a key that was drained meanwhile is in the row.
            self.reload_parked(&mut connection, standing.generation, partition)
                .await?;
        }
        Err(Failure::NotCaughtUp)
    }

    fn keep_user(
        &self,
        key: UserKey,
        row: Option<UserRow>,
        (standing, checkpoint): (&Standing, &Checkpoint),
        parked: Option<i64>,
        begun: Instant,
    ) -> Arc<UserEntry> {
        let fresh = Freshness::from(begun, self.l1.fresh);
        let read_at = ReadAt {
            stamp: checkpoint.entry(),
            revision: standing.revision,
            generation: standing.generation,
        };
        self.keep_entry(UserEntry::new(key, row, read_at, parked, fresh))
    }

    /// Keeps what was read, wherever it was read from, with the bytes of an earlier reading.
    pub(crate) fn keep_entry(&self, entry: UserEntry) -> Arc<UserEntry> {
        if let Some(before) = self.l1.user(&entry.key) {
            entry.inherit(&before);
        }
        let entry = Arc::new(entry);
        self.l1.keep_user(&entry);
        entry
    }

    /// Several users of a tenant, in no order; those that do not exist are among them.
    pub(crate) async fn load_users(
        &self,
        scope: &Scope,
        wanted: &[(Uuid, Partition)],
    ) -> Result<Vec<Arc<UserEntry>>, Failure> {
        let begun = Instant::now();
        let ids: Vec<Uuid> = wanted.iter().map(|(id, _)| *id).collect();
        let (standing, mut rows, parked) = self.listed(scope, Wanted::Users(&ids)).await?;
        let entry = |(id, partition): &(Uuid, Partition)| {
            let found = rows.iter().position(|row| row.id == *id);
            let row = found.map(|at| rows.swap_remove(at));
            let key = UserKey {
                tenant: scope.tenant.clone(),
                id: *id,
            };
            let checkpoint = standing.of(*partition).ok_or(Failure::Filling)?;
            let parked = parked[partition].of_key(&key.tenant, &id.to_string());
            Ok(self.keep_user(key, row, (&standing, checkpoint), parked, begun))
        };
        wanted.iter().map(entry).collect()
    }

    /// One page.
    pub(crate) async fn load_page(
        self: Arc<Self>,
        scope: &Scope,
        key: PageKey,
        begun: Instant,
    ) -> Result<Arc<Page>, Failure> {
        let (standing, rows, parked) = self.listed(scope, Wanted::Page(&key.query)).await?;
        let body = page::render(&self.cursors, &key, rows);
        let as_of: Vec<TokenEntry> = standing.checkpoints.iter().map(Checkpoint::entry).collect();
        let first = |(partition, set): (&Partition, &Arc<ParkedSet>)| {
            Some((*partition, set.of_tenant(&key.tenant)?))
        };
        let parked = parked.iter().filter_map(first);
        let fresh = Freshness::from(begun, self.l1.fresh);
        let page = Arc::new(page::page(body, as_of, parked.collect(), fresh));
        self.l1.keep_page(key, &page);
        Ok(page)
    }

    async fn connection(&self) -> Result<Conn, Failure> {
        self.pool
            .acquire()
            .await
            .map_err(|error| Failure::of_database(&error))
    }

    /// Rows, their standing and the parked sets that it speaks of, held here: another read may put
    /// later sets into the memory meanwhile. The rows are read again after sets that were not
    /// known: a key that was drained meanwhile is in the row.
    async fn listed(
        &self,
        scope: &Scope,
        wanted: Wanted<'_>,
    ) -> Result<(Standing, Vec<UserRow>, ParkedSets), Failure> {
        let mut connection = self.connection().await?;
        for _ in 0..PARKED_RETRIES {
            let listed = fresh_plan!(connection, read(&mut connection, scope, wanted));
            let (standing, rows) = listed.ok_or(Failure::Filling)?;
            for checkpoint in &standing.checkpoints {
                self.check(checkpoint).await?;
            }
            let held = |checkpoint: &Checkpoint| {
                let set = self.parked.of(standing.generation, checkpoint)?;
                Some((checkpoint.partition, set))
            };
            let sets: Option<ParkedSets> = standing.checkpoints.iter().map(held).collect();
            match sets {
                Some(sets) => return Ok((standing, rows, sets)),
                None => self.reload_all_parked(&mut connection, &standing).await?,
            }
        }
        Err(Failure::NotCaughtUp)
    }

    async fn reload_all_parked(
        &self,
        connection: &mut Conn,
        standing: &Standing,
    ) -> Result<(), Failure> {
        for checkpoint in &standing.checkpoints {
            if self.parked.of(standing.generation, checkpoint).is_none() {
                self.reload_parked(connection, standing.generation, checkpoint.partition)
                    .await?;
            }
        }
        Ok(())
    }

    async fn reload_parked(
        &self,
        connection: &mut Conn,
        generation: i32,
        partition: Partition,
    ) -> Result<(), Failure> {
        let reloaded = self.parked.reload(connection, generation, partition).await;
        reloaded.map_err(|error| Failure::of_database(&error))
    }

    /// A checkpoint whose events were lost is as good as none; any other one is remembered.
    async fn check(&self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let known = self.follower.outlook().ok_or(Failure::Filling)?;
        let outlook = if known.is_void(checkpoint) {
            self.follower.look_afresh().await?
        } else {
            known
        };
        if outlook.is_void(checkpoint) {
            return Err(Failure::Filling);
        }
        outlook.shown(checkpoint);
        Ok(())
    }
}

async fn read(
    connection: &mut Conn,
    scope: &Scope,
    wanted: Wanted<'_>,
) -> Result<Listed, ReadError> {
    let query = match wanted {
        Wanted::Users(ids) => return reads::by_ids(connection, scope, ids).await,
        Wanted::Page(query) => query,
    };
    match query {
        PageQuery::Region {
            region,
            since,
            after,
            limit,
        } => {
            let after = PageQuery::activity_key(*after);
            let since = since.and_then(chrono::DateTime::from_timestamp_micros);
            let limit = i64::from(*limit) + 1;
            reads::by_region(connection, scope, region, since, after, limit).await
        }
        PageQuery::Tenant { after, limit } => {
            reads::of_tenant(connection, scope, *after, i64::from(*limit) + 1).await
        }
        PageQuery::Email(hash) => reads::by_email(connection, scope, &[hash.to_vec()]).await,
    }
}
