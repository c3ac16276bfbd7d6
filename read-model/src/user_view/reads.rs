//! The reads of the view, through `read_model.user_view`, which stands for the active generation.
//! Each takes a [`Scope`]: a tenant's rows are found under no other, and lists are for operators
//! and admins.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use events::{Partition, Role, Scope, TenantId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::rows::read;
use super::{UserKey, UserRow};
use crate::checkpoint::{self, Standing};

/// One user and the checkpoint of its partition in one statement, hence in one snapshot. (The lock
/// on the view is taken before the snapshot, so a switch of generations lies wholly before or
/// after.)
pub const BY_ID: &str = concat!(
    "select g.generation, g.revision, c.partition, c.incarnation, c.position, c.parked_version, ",
    columns!(),
    " from projection.generation g
      join projection.checkpoint c on c.projection = g.projection
       and c.generation = g.generation and c.partition = $3
      left join read_model.user_view u on u.tenant = $1 and u.id = $2
      where g.projection = 'user_view' and g.state = 'active'"
);

/// Rows and the checkpoints of all partitions in one statement, hence in one snapshot: a row newer
/// than the checkpoints said would be newer than the answer's token. The two have nothing to join:
/// each line is a checkpoint or a user.
macro_rules! with_standing {
    ($rows:literal) => {
        concat!(
            "select c.generation, c.revision, c.partition, c.incarnation, c.position,
                    c.parked_version, ",
            columns!(),
            " from (select g.generation, g.revision, c.partition, c.incarnation, c.position,
                           c.parked_version
                    from projection.generation g
                    join projection.checkpoint c on c.projection = g.projection
                     and c.generation = g.generation
                    where g.projection = 'user_view' and g.state = 'active') c
              full join (select ",
            columns!(),
            " from read_model.user_view u ",
            $rows,
            ") u on false"
        )
    };
}

/// Several users.
pub const BY_IDS: &str = with_standing!("where u.tenant = $1 and u.id = any($2)");

/// The users of a region that were active since, the latest first.
pub const BY_REGION: &str = with_standing!(
    "where u.tenant = $1 and u.region = $2 and u.last_active >= $3
       and u.last_active <= $4 and (u.last_active < $4 or u.id > $5)
     order by u.last_active desc, u.id
     limit $6"
);

/// The users with an address: one, and for a moment two while an address moves between partitions.
pub const BY_EMAIL: &str = with_standing!("where u.tenant = $1 and u.email_hash = any($2)");

/// The users of a tenant, by id.
pub const OF_TENANT: &str = with_standing!(
    "where u.tenant = $1 and u.id >= $2 and ($3 or u.id <> $2)
     order by u.id
     limit $4"
);

/// Users of any tenant, for the cache's own tools.
const BY_KEYS: &str = with_standing!(
    "join unnest($1::text[], $2::uuid[]) as wanted (tenant, id)
       on u.tenant = wanted.tenant and u.id = wanted.id"
);

/// Who was active last, for warming a cache: an operator's statement, which may read everything.
const RECENTLY_ACTIVE: &str = "\
    select u.tenant, u.id from read_model.user_view u
    where $1::text is null or u.tenant = $1
    order by u.last_active desc, u.id
    limit $2";

/// The statements that a connection prepares when it opens.
pub const HOT: [&str; 5] = [BY_ID, BY_IDS, BY_REGION, BY_EMAIL, OF_TENANT];

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The policy of the view: this role does not read it.
    #[error("lists of users are for operators and admins")]
    NotAllowed,
    /// The database failed.
    #[error("reading user_view")]
    Database(#[from] sqlx::Error),
}

/// Where a page of a region ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityKey {
    /// The last item's `last_active`.
    pub last_active: DateTime<Utc>,
    /// The last item's id.
    pub id: Uuid,
}

impl ActivityKey {
    /// Before every row: the year 9999 is further than any clock of ours goes.
    pub const START: Self = Self {
        last_active: DateTime::from_timestamp(253_402_300_799, 0).expect("the year 9999"),
        id: Uuid::nil(),
    };
}

/// One user with the standing of its partition; no standing while no generation is served.
///
/// # Errors
/// [`ReadError::Database`].
pub async fn by_id(
    connection: &mut PgConnection,
    scope: &Scope,
    id: Uuid,
    partition: Partition,
) -> Result<Option<(Standing, Option<UserRow>)>, ReadError> {
    let row = sqlx::query(BY_ID)
        .bind(scope.tenant.as_str())
        .bind(id)
        .bind(partition.as_i32())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let standing = Standing {
        generation: row.try_get("generation")?,
        revision: row.try_get("revision")?,
        checkpoints: vec![checkpoint::read(&row)?],
    };
    let found = row.try_get::<Option<Uuid>, _>("id")?.is_some();
    let user = if found { Some(read(&row)?) } else { None };
    Ok(Some((standing, user)))
}

/// Users with the standing that they are true as of; none while no generation is served.
pub type Listed = Option<(Standing, Vec<UserRow>)>;

/// Several users, by id.
///
/// # Errors
/// [`ReadError::Database`].
pub async fn by_ids(
    connection: &mut PgConnection,
    scope: &Scope,
    ids: &[Uuid],
) -> Result<Listed, ReadError> {
    let query = sqlx::query(BY_IDS).bind(scope.tenant.as_str()).bind(ids);
    listed(query.fetch_all(connection).await?, |row| row.id)
}

/// Users of a region that were active since `since`, after `after`, by `last_active` descending and
/// id.
///
/// # Errors
/// [`ReadError::NotAllowed`] for the role `user`; [`ReadError::Database`].
pub async fn by_region(
    connection: &mut PgConnection,
    scope: &Scope,
    region: &str,
    since: Option<DateTime<Utc>>,
    after: ActivityKey,
    limit: i64,
) -> Result<Listed, ReadError> {
    staff(scope)?;
    let query = sqlx::query(BY_REGION)
        .bind(scope.tenant.as_str())
        .bind(region)
        .bind(since.unwrap_or(DateTime::UNIX_EPOCH))
        .bind(after.last_active)
        .bind(after.id)
        .bind(limit);
    let rows = query.fetch_all(connection).await?;
    listed(rows, |row| (Reverse(row.last_active), row.id))
}

/// The users found by any of these hashes of one address (one hash a live key version), by id.
///
/// # Errors
/// [`ReadError::NotAllowed`] for the role `user`; [`ReadError::Database`].
pub async fn by_email(
    connection: &mut PgConnection,
    scope: &Scope,
    hashes: &[Vec<u8>],
) -> Result<Listed, ReadError> {
    staff(scope)?;
    let query = sqlx::query(BY_EMAIL)
        .bind(scope.tenant.as_str())
        .bind(hashes);
    listed(query.fetch_all(connection).await?, |row| row.id)
}

/// The users of the tenant after `after`, by id.
///
/// # Errors
/// [`ReadError::NotAllowed`] for the role `user`; [`ReadError::Database`].
pub async fn of_tenant(
    connection: &mut PgConnection,
    scope: &Scope,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Listed, ReadError> {
    staff(scope)?;
    let query = sqlx::query(OF_TENANT)
        .bind(scope.tenant.as_str())
        .bind(after.unwrap_or(Uuid::nil()))
        .bind(after.is_none())
        .bind(limit);
    listed(query.fetch_all(connection).await?, |row| row.id)
}

/// Users of any tenant, for the cache's own tools, which act for no tenant.
pub(super) async fn of_any_tenant(
    connection: &mut PgConnection,
    users: &[UserKey],
) -> sqlx::Result<Listed> {
    let tenants: Vec<&str> = users.iter().map(|user| user.tenant.as_str()).collect();
    let ids: Vec<Uuid> = users.iter().map(|user| user.id).collect();
    let query = sqlx::query(BY_KEYS).bind(tenants).bind(ids);
    let lines = query.fetch_all(connection).await?;
    match listed(lines, |row| (row.tenant.clone(), row.id)) {
        Ok(listed) => Ok(listed),
        Err(ReadError::Database(error)) => Err(error),
        Err(ReadError::NotAllowed) => Ok(None),
    }
}

/// Who was active last, of one tenant or of all.
pub(super) async fn recently_active(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    limit: i64,
) -> sqlx::Result<Vec<UserKey>> {
    let query = sqlx::query(RECENTLY_ACTIVE)
        .bind(tenant.map(TenantId::as_str))
        .bind(limit);
    let rows = query.fetch_all(connection).await?;
    let user = |row: PgRow| {
        let tenant: String = row.try_get("tenant")?;
        let tenant = TenantId::parse(&tenant).map_err(|error| sqlx::Error::ColumnDecode {
            index: "tenant".to_owned(),
            source: Box::new(error),
        })?;
        let id = row.try_get("id")?;
        Ok(UserKey { tenant, id })
    };
    rows.into_iter().map(user).collect()
}

fn staff(scope: &Scope) -> Result<(), ReadError> {
    match scope.role {
        Role::Operator | Role::Admin => Ok(()),
        Role::User => Err(ReadError::NotAllowed),
    }
}

/// Takes apart what `with_standing` gives. The index yields the rows in order, but a join
/// promises none; sorting what is sorted costs nothing.
fn listed<K: Ord>(lines: Vec<PgRow>, order: impl Fn(&UserRow) -> K) -> Result<Listed, ReadError> {
    let mut standing: Option<Standing> = None;
    let mut users = Vec::with_capacity(lines.len());
    for line in &lines {
        if line.try_get::<Option<Uuid>, _>("id")?.is_some() {
            users.push(read(line)?);
            continue;
        }
        let (generation, revision) = (line.try_get("generation")?, line.try_get("revision")?);
        let standing = standing.get_or_insert_with(|| Standing {
            generation,
            revision,
            checkpoints: vec![],
        });
        standing.checkpoints.push(checkpoint::read(line)?);
    }
    let Some(mut standing) = standing else {
        return Ok(None);
    };
    standing.checkpoints.sort_by_key(|one| one.partition);
    users.sort_by_key(order);
    Ok(Some((standing, users)))
}
