//! A row of the view as it is kept in Redis. Times are microseconds, as PostgreSQL keeps them, so
//! that a row that comes back equals the row that went.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::stream::USER;
use events::user_fields::EmailKey;
use events::{RecordedEvent, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{UserKey, UserRow, UserStatus, UserView, reads};
use crate::cache::{Cached, CachedRow, Keyspace, Namespace, Reading, ValueKey};
use crate::projection::Touched;

/// The layout of [`encode`]; it changes with it.
pub const SCHEMA: u16 = 1;

/// The keys of the view.
#[must_use]
pub fn keyspace(namespace: Namespace, incarnation: i32, generation: i32) -> Keyspace {
    Keyspace::new(namespace, super::NAME, SCHEMA, incarnation, generation)
}

/// The key of a user's value.
#[must_use]
pub fn value_key(keys: &Keyspace, user: &UserKey) -> ValueKey {
    let mut text = Uuid::encode_buffer();
    let id = user.id.hyphenated().encode_lower(&mut text);
    keys.value(&user.tenant, id, id)
}

#[derive(Serialize, Deserialize)]
struct Body {
    tenant: TenantId,
    id: Uuid,
    version: i64,
    status: i16,
    email: Option<String>,
    email_key: Option<EmailKey>,
    name: Option<String>,
    region: String,
    bio: Option<String>,
    display_name: Option<String>,
    avatar_url: Option<String>,
    created_at: i64,
    last_active: i64,
}

/// The body of a value.
#[must_use]
pub fn encode(row: &UserRow) -> Vec<u8> {
    let row = row.clone();
    let body = Body {
        tenant: row.tenant,
        id: row.id,
        version: row.version,
        status: row.status as i16,
        email: row.email,
        email_key: row.email_key,
        name: row.name,
        region: row.region,
        bio: row.bio,
        display_name: row.display_name,
        avatar_url: row.avatar_url,
        created_at: row.created_at.timestamp_micros(),
        last_active: row.last_active.timestamp_micros(),
    };
    serde_json::to_vec(&body).expect("a row holds texts and numbers only")
}

/// The row in a body; nothing when it is not a row of this user.
#[must_use]
pub fn decode(user: &UserKey, body: &[u8]) -> Option<UserRow> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let row = UserRow {
        tenant: body.tenant,
        id: body.id,
        version: body.version,
        status: UserStatus::try_from(body.status).ok()?,
        email: body.email,
        email_key: body.email_key,
        name: body.name,
        region: body.region,
        bio: body.bio,
        display_name: body.display_name,
        avatar_url: body.avatar_url,
        created_at: DateTime::<Utc>::from_timestamp_micros(body.created_at)?,
        last_active: DateTime::<Utc>::from_timestamp_micros(body.last_active)?,
    };
    (row.key() == *user).then_some(row)
}

impl CachedRow for UserRow {
    fn body(&self) -> Vec<u8> {
        encode(self)
    }

    fn version(&self) -> i64 {
        self.version
    }
}

#[async_trait]
impl Cached for UserView {
    fn schema(&self) -> u16 {
        SCHEMA
    }

    fn touches(&self, event: &RecordedEvent) -> Option<Touched> {
        if event.aggregate_type != USER {
            return None;
        }
        super::user_key(event).as_ref().map(touched)
    }

    fn version_of(&self, body: &[u8]) -> Option<i64> {
        let body: Body = serde_json::from_slice(body).ok()?;
        Some(body.version)
    }

    async fn read(&self, connection: &mut PgConnection, ids: &[Touched]) -> sqlx::Result<Reading> {
        let users: Vec<_> = ids.iter().filter_map(UserKey::touched).collect();
        let listed = reads::of_any_tenant(connection, &users).await?;
        Ok(listed.map(|(standing, rows)| {
            let keyed = |row: UserRow| {
                let row: Box<dyn CachedRow> = Box::new(row);
                row
            };
            let rows = rows
                .into_iter()
                .map(|row| (touched(&row.key()), keyed(row)));
            (standing, rows.collect())
        }))
    }

    async fn recent(
        &self,
        connection: &mut PgConnection,
        tenant: Option<&TenantId>,
        limit: i64,
    ) -> sqlx::Result<Vec<Touched>> {
        let users = reads::recently_active(connection, tenant, limit).await?;
        Ok(users.iter().map(touched).collect())
    }
}

fn touched(user: &UserKey) -> Touched {
    Touched {
        tenant: user.tenant.clone(),
        id: user.id.to_string(),
    }
}
