//! The events that are rebuilt from: the commands of [`People`], decided by the domain and written
//! with heads, digests and streams as a lane writes them, but many in a statement.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use domain::user::Status;
use domain::{User, UserCommand};
use event_store::digest::Digest;
use events::{Address, Partition, PartitionCount, StreamId, TenantId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::people::{Next, People};

/// Events of one transaction.
const CHUNK: usize = 20_000;

const MOVE_HEADS: &str = "
update event_store.partition_head as h
set position = m.position, recorded_at = $4, digest = m.digest
from unnest($1::integer[], $2::bigint[], $3::bytea[]) as m (partition, position, digest)
where h.partition = m.partition";

const INSERT_STREAMS: &str = "
insert into event_store.stream (stream_no, partition, aggregate_type, name, routing_key)
select no, p, 'user', 'acme/' || id, id
from unnest($1::bigint[], $2::integer[], $3::text[], $4::bigint[]) as s (no, p, id, sequence)
where sequence = 1";

const INSERT_EVENTS: &str = "
insert into event_store.event
    (position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
    aggregate_type, aggregate_id, routing_key, event_type, payload, metadata)
select position, stream_no, sequence, $5, partition, version, event_id, 'acme', 'user', id, id,
    event_type, payload::json, '{}'
from unnest($1::bigint[], $2::integer[], $3::text[], $4::bigint[], $6::bigint[], $7::integer[],
    $8::uuid[], $9::text[], $10::text[])
    as e (stream_no, partition, id, sequence, position, version, event_id, event_type, payload)";

#[derive(Default)]
struct Columns {
    stream_nos: Vec<i64>,
    partitions: Vec<i32>,
    ids: Vec<String>,
    sequences: Vec<i64>,
    positions: Vec<i64>,
    versions: Vec<i32>,
    event_ids: Vec<Uuid>,
    event_types: Vec<String>,
    payloads: Vec<String>,
}

struct Stream {
    id: Uuid,
    partition: Partition,
    number: i64,
    version: i64,
}

struct Log {
    partitions: PartitionCount,
    tenant: TenantId,
    people: People,
    active: User,
    streams: Vec<Stream>,
    heads: BTreeMap<Partition, (i64, Digest)>,
    now: DateTime<Utc>,
}

/// Writes `count` events.
///
/// # Errors
/// When the server or a decision fails.
pub(super) async fn fill(
    pool: &PgPool,
    partitions: PartitionCount,
    count: usize,
) -> anyhow::Result<()> {
    let mut log = Log {
        partitions,
        tenant: TenantId::parse("acme").context("a tenant")?,
        people: People::new(1),
        active: User {
            status: Status::Active,
            ..User::default()
        },
        streams: Vec::new(),
        heads: BTreeMap::new(),
        now: Utc::now(),
    };
    let mut written = 0;
    while written < count {
        let mut columns = Columns::default();
        while columns.positions.len() < CHUNK.min(count - written) {
            log.next(&mut columns)?;
        }
        written += columns.positions.len();
        log.write(pool, columns).await?;
    }
    Ok(())
}

impl Log {
    /// One more command, and its event.
    fn next(&mut self, columns: &mut Columns) -> anyhow::Result<()> {
        let (command, state, index) = match self.people.next() {
            Next::Register(command) => {
                let id = command.user_id;
                self.streams.push(Stream {
                    id,
                    partition: StreamId::user(&self.tenant, id).partition(self.partitions),
                    number: 0,
                    version: 0,
                });
                let index = self.streams.len() - 1;
                (UserCommand::from(command), User::default(), index)
            }
            Next::Update(index, command) => (command.into(), self.active.clone(), index),
        };
        let stream = &mut self.streams[index];
        for event in command.decide(&state, self.now)?.events {
            let (position, digest) = self.heads.entry(stream.partition).or_default();
            *position += 1;
            stream.version += 1;
            if stream.number == 0 {
                stream.number = *position;
            }
            let address = Address {
                partition: stream.partition,
                position: *position,
            };
            let (event_id, payload) = (Uuid::now_v7(), event.payload()?.get().to_owned());
            digest.add(
                address,
                event_id,
                event.type_name(),
                event.version(),
                &payload,
            );
            columns.stream_nos.push(stream.number);
            columns.partitions.push(stream.partition.as_i32());
            columns.ids.push(stream.id.to_string());
            columns.sequences.push(stream.version);
            columns.positions.push(*position);
            columns.versions.push(event.version());
            columns.event_ids.push(event_id);
            columns.event_types.push(event.type_name().to_owned());
            columns.payloads.push(payload);
        }
        Ok(())
    }

    async fn write(&self, pool: &PgPool, columns: Columns) -> anyhow::Result<()> {
        let mut transaction = pool.begin().await?;
        let heads = || self.heads.iter();
        let digests: Vec<_> = heads()
            .map(|(_, (_, one))| one.to_bytes().to_vec())
            .collect();
        sqlx::query(MOVE_HEADS)
            .bind(heads().map(|(one, _)| one.as_i32()).collect::<Vec<_>>())
            .bind(heads().map(|(_, (one, _))| *one).collect::<Vec<_>>())
            .bind(digests)
            .bind(self.now)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(INSERT_STREAMS)
            .bind(&columns.stream_nos)
            .bind(&columns.partitions)
            .bind(&columns.ids)
            .bind(&columns.sequences)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(INSERT_EVENTS)
            .bind(&columns.stream_nos)
            .bind(&columns.partitions)
            .bind(&columns.ids)
            .bind(&columns.sequences)
            .bind(self.now)
            .bind(&columns.positions)
            .bind(&columns.versions)
            .bind(&columns.event_ids)
            .bind(&columns.event_types)
            .bind(&columns.payloads)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
