//! A projection for tests: it counts the events of each key, adds their amounts up, and keeps a
//! digest that tells their order, so that a row is right only if each event had one effect, in its
//! place. Some amounts are poison.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use async_trait::async_trait;
use events::{DecodeError, RecordedEvent};
use projector::engine::Engine;
use read_model::projection::{ApplyError, Effects, Projection, Target, Touched};
use serde::Deserialize;
use sqlx::PgConnection;

pub(crate) const CREATE: &str = r#"
create or replace function read_model.create_tally(generation integer) returns void
language plpgsql as $$
begin
    execute format('create table read_model.%I (
        key text collate "C" primary key,
        home integer not null,
        events bigint not null,
        amount bigint not null check (amount < 1000000),
        digest bigint not null)', 'tally_g' || generation);
end $$"#;

/// An amount that apply panics at.
pub(crate) const PANIC: &str = r#"{"add": 666}"#;
/// An amount that the fold refuses.
pub(crate) const FOLD: &str = r#"{"add": -1}"#;
/// An amount that the table refuses.
pub(crate) const CHECK: &str = r#"{"add": 5000000}"#;
/// A payload without its published shape.
pub(crate) const MALFORMED: &str = r#"{"plus": 1}"#;

#[derive(Deserialize)]
struct Tallied {
    add: i64,
}

/// What a row says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) events: i64,
    pub(crate) amount: i64,
    pub(crate) digest: i64,
}

impl Row {
    /// The fold.
    pub(crate) fn then(self, position: i64, add: i64) -> Self {
        Self {
            events: self.events + 1,
            amount: self.amount + add,
            digest: (self.digest * 31 + position * 7 + add) % 1_000_003,
        }
    }
}

pub(crate) struct Tally {
    pub(crate) revision: i32,
    pub(crate) effects: usize,
    /// The newest event version that it knows.
    pub(crate) knows: AtomicI32,
    /// How many of the next batches meet trouble that passes.
    pub(crate) trouble: AtomicUsize,
    /// How many batches were tried.
    pub(crate) batches: AtomicUsize,
    /// The engine that takes the leases in the middle of the next batch, as another daemon would.
    pub(crate) rival: std::sync::Mutex<Option<Engine>>,
}

impl Tally {
    pub(crate) fn leak(revision: i32, effects: usize) -> &'static Self {
        Box::leak(Box::new(Self {
            revision,
            effects,
            knows: AtomicI32::new(1),
            trouble: AtomicUsize::new(0),
            batches: AtomicUsize::new(0),
            rival: std::sync::Mutex::new(None),
        }))
    }
}

#[async_trait]
impl Projection for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn revision(&self) -> i32 {
        self.revision
    }

    fn effects_max(&self, _event: &RecordedEvent) -> usize {
        self.effects
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        target: Target,
        batch: &[RecordedEvent],
    ) -> Result<Effects, ApplyError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let less = |left: usize| left.checked_sub(1);
        if self
            .trouble
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
        {
            return Err(ApplyError::Database(sqlx::Error::PoolTimedOut));
        }
        let mut rows = read(connection, target, batch).await?;
        for event in batch {
            let add = self.decode(event)?;
            let row = rows.entry(event.routing_key.clone()).or_default();
            *row = row.then(event.address.position, add);
        }
        write(connection, target, &rows).await?;
        let rival = self.rival.lock().unwrap().take();
        if let Some(rival) = rival {
            rival.attend().await?;
        }
        let touched = |id: &String| Touched {
            tenant: batch[0].tenant.clone(),
            id: id.clone(),
        };
        Ok(Effects {
            rows: rows.len() as u64,
            touched: rows.keys().map(touched).collect(),
            written: Vec::new(),
        })
    }
}

impl Tally {
    fn decode(&self, event: &RecordedEvent) -> Result<i64, ApplyError> {
        let (position, version) = (event.address.position, event.event_version);
        let event_type = event.event_type.clone();
        if version > self.knows.load(Ordering::Relaxed) {
            let source = DecodeError::UnknownVersion {
                event_type,
                version,
            };
            return Err(ApplyError::Decode { position, source });
        }
        let tallied: Tallied = serde_json::from_str(event.payload.get()).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let source = DecodeError::Malformed {
                event_type,
                version,
                line,
                column,
            };
            ApplyError::Decode { position, source }
        })?;
        assert!(tallied.add != 666, "the number of the beast");
        if tallied.add < 0 {
            let reason = "an amount is never below zero";
            return Err(ApplyError::Fold { position, reason });
        }
        Ok(tallied.add)
    }
}

async fn read(
    connection: &mut PgConnection,
    target: Target,
    batch: &[RecordedEvent],
) -> Result<BTreeMap<String, Row>, sqlx::Error> {
    let keys: Vec<_> = batch
        .iter()
        .map(|event| event.routing_key.clone())
        .collect();
    let statement = format!(
        "select key, events, amount, digest from read_model.tally_g{} where key = any($1)",
        target.generation
    );
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(&statement)
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let row = |(key, events, amount, digest)| {
        (
            key,
            Row {
                events,
                amount,
                digest,
            },
        )
    };
    Ok(rows.into_iter().map(row).collect())
}

async fn write(
    connection: &mut PgConnection,
    target: Target,
    rows: &BTreeMap<String, Row>,
) -> Result<(), sqlx::Error> {
    let statement = format!(
        "insert into read_model.tally_g{} (key, home, events, amount, digest)
        select k, $2, e, a, d
        from unnest($1::text[], $3::bigint[], $4::bigint[], $5::bigint[]) as r (k, e, a, d)
        on conflict (key) do update
        set events = excluded.events, amount = excluded.amount, digest = excluded.digest",
        target.generation
    );
    sqlx::query(&statement)
        .bind(rows.keys().cloned().collect::<Vec<_>>())
        .bind(target.partition.as_i32())
        .bind(rows.values().map(|row| row.events).collect::<Vec<_>>())
        .bind(rows.values().map(|row| row.amount).collect::<Vec<_>>())
        .bind(rows.values().map(|row| row.digest).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
