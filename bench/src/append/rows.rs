//! The rows of the bare insert: event types, payloads and streams in the same proportions as the
//! other contenders write them.

use std::sync::Arc;

use chrono::Utc;
use domain::user::Status;
use domain::{User, UserCommand};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use crate::people::{Next, People, REGISTRATION_PERIOD};

const INSERT: &str = "
insert into event_store.event
    (position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
     aggregate_type, aggregate_id, routing_key, event_type, payload, metadata)
select position, stream_no, sequence, now(), partition, 1, event_id, 'acme', 'user', id, id,
    event_type, payload, metadata
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[], $5::uuid[], $6::text[],
    $7::text[], $8::json[], $9::json[])
    as row (position, stream_no, sequence, partition, event_id, id, event_type, payload, metadata)";

/// How many different payloads there are; more would only be a longer preparation.
const PAYLOADS: usize = 4096;

/// Event types and payloads as the other contenders write them.
pub(super) struct Texts {
    registrations: Vec<String>,
    updates: Vec<String>,
    metadata: String,
}

impl Texts {
    /// Makes them.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut people = People::new(1);
        let active = User {
            status: Status::Active,
            ..User::default()
        };
        let (mut registrations, mut updates) = (Vec::new(), Vec::new());
        for _ in 0..PAYLOADS {
            let (command, state) = match people.next() {
                Next::Register(command) => (UserCommand::from(command), User::default()),
                Next::Update(_, command) => (command.into(), active.clone()),
            };
            let into = match command {
                UserCommand::RegisterUser(_) => &mut registrations,
                _ => &mut updates,
            };
            for event in command.decide(&state, Utc::now())?.events {
                into.push(event.payload()?.get().to_owned());
            }
        }
        let metadata = serde_json::to_string(&serde_json::Map::from_iter(
            super::ours::METADATA.map(|(name, value)| (name.to_owned(), value.into())),
        ))?;
        Ok(Self {
            registrations,
            updates,
            metadata,
        })
    }
}

/// The streams of one partition.
pub(super) struct Log {
    partition: i32,
    position: i64,
    streams: Vec<Stream>,
}

struct Stream {
    number: i64,
    version: i64,
    id: Arc<str>,
}

/// The rows of one statement, by column.
#[derive(Default)]
pub(super) struct Columns<'a> {
    positions: Vec<i64>,
    stream_nos: Vec<i64>,
    sequences: Vec<i64>,
    partitions: Vec<i32>,
    event_ids: Vec<Uuid>,
    ids: Vec<Arc<str>>,
    event_types: Vec<&'static str>,
    payloads: Vec<JsonText<'a>>,
}

impl Log {
    /// An empty partition.
    pub(super) fn new(partition: u16) -> Self {
        Self {
            partition: partition.into(),
            position: 0,
            streams: Vec::new(),
        }
    }

    /// One event: of a new stream, or of any that there is.
    pub(super) fn next<'a>(
        &mut self,
        people: &mut People,
        texts: &'a Texts,
        columns: &mut Columns<'a>,
    ) {
        self.position += 1;
        let event_id = Uuid::now_v7();
        let begins = self.streams.is_empty() || people.below(REGISTRATION_PERIOD) == 0;
        let (index, event_type, payloads) = if begins {
            let id = event_id.to_string().into();
            self.streams.push(Stream {
                number: self.position,
                version: 0,
                id,
            });
            (
                self.streams.len() - 1,
                "UserRegistered",
                &texts.registrations,
            )
        } else {
            (
                people.index(self.streams.len()),
                "UserProfileUpdated",
                &texts.updates,
            )
        };
        let stream = &mut self.streams[index];
        stream.version += 1;
        columns.positions.push(self.position);
        columns.stream_nos.push(stream.number);
        columns.sequences.push(stream.version);
        columns.partitions.push(self.partition);
        columns.event_ids.push(event_id);
        columns.ids.push(Arc::clone(&stream.id));
        columns.event_types.push(event_type);
        columns
            .payloads
            .push(JsonText(&payloads[people.index(payloads.len())]));
    }
}

impl Columns<'_> {
    /// Makes them durable; whether all of them were inserted is checked.
    pub(super) async fn insert(
        self,
        connection: &mut PgConnection,
        texts: &Texts,
    ) -> anyhow::Result<()> {
        let ids: Vec<&str> = self.ids.iter().map(AsRef::as_ref).collect();
        let metadata = vec![JsonText(&texts.metadata); ids.len()];
        let inserted = sqlx::query(INSERT)
            .bind(&self.positions)
            .bind(&self.stream_nos)
            .bind(&self.sequences)
            .bind(&self.partitions)
            .bind(&self.event_ids)
            .bind(&ids)
            .bind(&self.event_types)
            .bind(&self.payloads)
            .bind(&metadata)
            .execute(connection)
            .await?;
        anyhow::ensure!(
            inserted.rows_affected() == u64::try_from(ids.len())?,
            "rows are missing"
        );
        Ok(())
    }
}

/// JSON that is sent as it is. (sqlx's own type would send `jsonb`, and the cast costs.)
#[derive(Clone, Copy)]
struct JsonText<'a>(&'a str);

impl sqlx::Type<Postgres> for JsonText<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl PgHasArrayType for JsonText<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(199))
    }
}

impl sqlx::Encode<'_, Postgres> for JsonText<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}
