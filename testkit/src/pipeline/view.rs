//! Every row of `user_view` against the fold of its events (I5). The fold here is written from the
//! documents and reads the stored JSON by itself: it shares no line with the projection.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::log::{EventLog, LogEntry};
use crate::eventually;

const ROWS: &str = "
select tenant, id::text as id, home, version, status,
       email, encode(email_hash, 'hex') as email_hash,
       name, region, bio, display_name, avatar_url, created_at, last_active
from read_model.user_view";

/// How far behind the active generation is, or null when there is none.
const LAG: &str = "
select sum(head.position - checkpoint.position)::bigint
from event_store.partition_head head
join projection.generation g on g.projection = 'user_view' and g.state = 'active'
join projection.checkpoint on checkpoint.projection = g.projection
    and checkpoint.generation = g.generation and checkpoint.partition = head.partition";

/// Tenant and user.
pub type Key = (String, String);

/// A row, as the documents describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub struct ViewRow {
    pub home: i32,
    pub version: i64,
    pub status: i16,
    pub email: Option<String>,
    pub email_hash: Option<String>,
    pub name: Option<String>,
    pub region: String,
    pub bio: Option<String>,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    pub created_at: i64,
    pub last_active: i64,
}

/// What the rows must be.
///
/// # Panics
/// When an event is of a type that a user does not have.
#[must_use]
pub fn fold(log: &EventLog) -> BTreeMap<Key, ViewRow> {
    let last = |mut states: Vec<ViewRow>| states.pop().expect("an event left a state");
    let states = states(log).into_iter();
    states.map(|(key, states)| (key, last(states))).collect()
}

/// What each row was after each of its events.
///
/// # Panics
/// When an event is of a type that a user does not have.
#[must_use]
pub fn states(log: &EventLog) -> BTreeMap<Key, Vec<ViewRow>> {
    let mut all: BTreeMap<Key, Vec<ViewRow>> = BTreeMap::new();
    for entry in &log.entries {
        let key = (entry.tenant.clone(), entry.aggregate_id.clone());
        let states = all.entry(key).or_default();
        let mut row = states.last().cloned().unwrap_or_else(|| registered(entry));
        change(&mut row, entry);
        row.version = entry.sequence;
        row.display_name = if row.status == 2 {
            Some("Deactivated user".to_owned())
        } else {
            row.name.as_ref().map(|name| name.trim().to_owned())
        };
        states.push(row);
    }
    all
}

fn registered(entry: &LogEntry) -> ViewRow {
    let created_at = micros(&entry.payload["registered_at"]);
    ViewRow {
        home: entry.partition,
        version: 0,
        status: 1,
        email: None,
        email_hash: None,
        name: None,
        region: String::new(),
        bio: None,
        display_name: None,
        avatar_url: None,
        created_at,
        last_active: created_at,
    }
}

fn change(row: &mut ViewRow, entry: &LogEntry) {
    let payload = &entry.payload;
    let text = |field: &str| payload[field].as_str().map(str::to_owned);
    match entry.event_type.as_str() {
        "UserRegistered" | "UserProfileUpdated" | "UserEmailChanged" => {
            let fields = payload.as_object().expect("a payload is an object");
            for field in fields.keys() {
                match field.as_str() {
                    "email" => row.email = text(field),
                    "email_key" => {
                        row.email_hash = payload[field]["hash"].as_str().map(str::to_owned)
                    }
                    "name" => row.name = text(field),
                    "region" => row.region = text(field).unwrap_or_default(),
                    "bio" => row.bio = text(field),
                    "avatar_url" => row.avatar_url = text(field),
                    _ => {}
                }
            }
        }
        "UserDeactivated" => row.status = 2,
        "UserReactivated" => row.status = 1,
        "UserActivityRecorded" => {
            row.last_active = row.last_active.max(micros(&payload["active_at"]));
        }
        other => panic!("a user has no event {other}"),
    }
}

fn micros(value: &Value) -> i64 {
    let text = value.as_str().expect("a time is a text");
    let time = DateTime::parse_from_rfc3339(text).expect("RFC 3339");
    time.timestamp_micros()
}

/// The rows as they stand.
///
/// # Errors
/// What the database says; also when nothing is served yet.
pub async fn rows(pool: &PgPool) -> sqlx::Result<BTreeMap<Key, ViewRow>> {
    let rows = sqlx::query(ROWS).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> sqlx::Result<(Key, ViewRow)> {
    let micros = |time: DateTime<Utc>| time.timestamp_micros();
    let key = (row.try_get("tenant")?, row.try_get("id")?);
    let row = ViewRow {
        home: row.try_get("home")?,
        version: row.try_get("version")?,
        status: row.try_get("status")?,
        email: row.try_get("email")?,
        email_hash: row.try_get("email_hash")?,
        name: row.try_get("name")?,
        region: row.try_get("region")?,
        bio: row.try_get("bio")?,
        display_name: row.try_get("display_name")?,
        avatar_url: row.try_get("avatar_url")?,
        created_at: micros(row.try_get("created_at")?),
        last_active: micros(row.try_get("last_active")?),
    };
    Ok((key, row))
}

/// Rows that are missing, too many, or not what they should be.
#[must_use]
pub fn differences(should: &BTreeMap<Key, ViewRow>, is: &BTreeMap<Key, ViewRow>) -> Vec<String> {
    let mut found = vec![];
    for (key, row) in should {
        match is.get(key) {
            Some(other) if other == row => {}
            other => found.push(format!("{key:?}: should be {row:?}, is {other:?}")),
        }
    }
    let too_many = is.keys().filter(|key| !should.contains_key(*key));
    found.extend(too_many.map(|key| format!("{key:?} has a row and no event")));
    found
}

/// Waits until every checkpoint is at its head. Nobody may write meanwhile.
///
/// # Panics
/// When they are not in time.
pub async fn wait_until_applied(pool: &PgPool, within: Duration) {
    eventually(within, || async {
        let lag: Option<i64> = sqlx::query_scalar(LAG).fetch_one(pool).await?;
        match lag {
            Some(0) => Ok(()),
            other => Err(sqlx::Error::Protocol(format!("behind by {other:?}"))),
        }
    })
    .await;
}

/// Waits until everything is applied and compares row by row. Nobody may write meanwhile.
///
/// # Panics
/// When it is not applied in time, or a row differs.
pub async fn assert_equals_fold(pool: &PgPool, within: Duration) {
    wait_until_applied(pool, within).await;
    let log = EventLog::read(pool).await.expect("the event table");
    let is = rows(pool).await.expect("the view");
    let different = differences(&fold(&log), &is);
    assert!(different.is_empty(), "rows and fold: {different:#?}");
}
