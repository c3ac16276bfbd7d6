//! The rows of one generation as the projection reads and writes them: each row of a batch once, in
//! one statement.

use std::collections::{BTreeMap, BTreeSet};

use events::TenantId;
use events::user_fields::EmailKey;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{Table, UserKey, UserRow};
use crate::projection::Target;

/// The rows of these users in one generation.
pub(super) async fn load(
    connection: &mut PgConnection,
    generation: i32,
    users: BTreeSet<UserKey>,
) -> sqlx::Result<Table> {
    const COLUMNS: &str = columns!();
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let statement = format!(
        "select {COLUMNS} from read_model.user_view_g{generation} u
         join unnest($1::text[], $2::uuid[]) as wanted (tenant, id)
           on u.tenant = wanted.tenant and u.id = wanted.id"
    );
    let tenants: Vec<&str> = users.iter().map(|key| key.tenant.as_str()).collect();
    let ids: Vec<Uuid> = users.iter().map(|key| key.id).collect();
    let rows = sqlx::query(&statement)
        .bind(tenants)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let keyed = |row: PgRow| read(&row).map(|row| (row.key(), row));
    rows.into_iter().map(keyed).collect()
}

/// Writes the rows, new or changed, all of them homed in the target's partition.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    target: Target,
    rows: &[&UserRow],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = upsert_statement(target.generation);
    sqlx::query(&statement)
        .bind(target.partition.as_i32())
        .bind(column(rows, |row| row.tenant.as_str()))
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.version))
        .bind(column(rows, |row| row.status as i16))
        .bind(column(rows, |row| row.email.as_deref()))
        .bind(column(rows, |row| {
            row.email_key.as_ref().map(|key| key.hash.as_slice())
        }))
        .bind(column(rows, |row| {
            row.email_key.as_ref().map(|key| key.key_version)
        }))
        .bind(column(rows, |row| row.name.as_deref()))
        .bind(column(rows, |row| row.region.as_str()))
        .bind(column(rows, |row| row.bio.as_deref()))
        .bind(column(rows, |row| row.display_name.as_deref()))
        .bind(column(rows, |row| row.avatar_url.as_deref()))
        .bind(column(rows, |row| row.created_at))
        .bind(column(rows, |row| row.last_active))
        .execute(connection)
        .await?;
    Ok(())
}

fn column<'r, T>(rows: &[&'r UserRow], field: impl Fn(&'r UserRow) -> T) -> Vec<T> {
    rows.iter().map(|row| field(row)).collect()
}

fn upsert_statement(generation: i32) -> String {
    format!(
        "insert into read_model.user_view_g{generation} as u
            (home, tenant, id, version, status, email, email_hash, email_key_version, name, region,
             bio, display_name, avatar_url, created_at, last_active)
         select $1, rows.* from unnest($2::text[], $3::uuid[], $4::bigint[], $5::smallint[],
            $6::text[], $7::bytea[], $8::smallint[], $9::text[], $10::text[], $11::text[],
            $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[]) as rows
         on conflict (tenant, id) do update set
            version = excluded.version, status = excluded.status, email = excluded.email,
            email_hash = excluded.email_hash, email_key_version = excluded.email_key_version,
            name = excluded.name, region = excluded.region, bio = excluded.bio,
            display_name = excluded.display_name, avatar_url = excluded.avatar_url,
            last_active = excluded.last_active"
    )
}

/// Reads `columns!()`.
pub(super) fn read(row: &PgRow) -> sqlx::Result<UserRow> {
    let status: i16 = row.try_get("status")?;
    let tenant: String = row.try_get("tenant")?;
    Ok(UserRow {
        tenant: TenantId::parse(&tenant).map_err(|error| wrong("tenant", error))?,
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        status: status.try_into().map_err(|error| wrong("status", error))?,
        email: row.try_get("email")?,
        email_key: read_email_key(row)?,
        name: row.try_get("name")?,
        region: row.try_get("region")?,
        bio: row.try_get("bio")?,
        display_name: row.try_get("display_name")?,
        avatar_url: row.try_get("avatar_url")?,
        created_at: row.try_get("created_at")?,
        last_active: row.try_get("last_active")?,
    })
}

fn read_email_key(row: &PgRow) -> sqlx::Result<Option<EmailKey>> {
    let hash: Option<Vec<u8>> = row.try_get("email_hash")?;
    let key_version: Option<i16> = row.try_get("email_key_version")?;
    let (Some(hash), Some(key_version)) = (hash, key_version) else {
        return Ok(None);
    };
    let hash = <[u8; 32]>::try_from(hash.as_slice()).map_err(|error| wrong("email_hash", error))?;
    Ok(Some(EmailKey { hash, key_version }))
}

fn wrong(
    column: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    }
}
