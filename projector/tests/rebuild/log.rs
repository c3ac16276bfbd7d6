//! Writes events into the store as a lane does: in one transaction with the heads, their digests
//! and the streams, but many at a time.

use std::collections::BTreeMap;

use event_store::digest::Digest;
use events::{Partition, RecordedEvent};
use sqlx::{PgConnection, PgPool};

const READ_HEADS: &str = "
select partition, digest from event_store.partition_head order by partition for update";

const MOVE_HEAD: &str = "
update event_store.partition_head
set position = $2, recorded_at = $3, digest = $4
where partition = $1";

const INSERT_STREAMS: &str = "
insert into event_store.stream (stream_no, partition, aggregate_type, name, routing_key)
select no, p, 'user', tenant || '/' || id, id
from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[]) as s (no, p, tenant, id)";

const INSERT_EVENTS: &str = "
insert into event_store.event
    (position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
    aggregate_type, aggregate_id, routing_key, event_type, payload, metadata)
select position, stream_no, sequence, recorded_at, partition, version, event_id, tenant, 'user',
    id, id, event_type, payload::json, '{}'
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::integer[],
    $6::integer[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[])
    as e (position, stream_no, sequence, recorded_at, partition, version, event_id, tenant, id,
        event_type, payload)";

/// Appends `events`, which continue every partition that they touch.
pub(crate) async fn append(pool: &PgPool, events: &[RecordedEvent]) {
    let mut transaction = pool.begin().await.unwrap();
    append_in(&mut transaction, events).await;
    transaction.commit().await.unwrap();
}

/// The same in a transaction of the caller.
pub(crate) async fn append_in(transaction: &mut PgConnection, events: &[RecordedEvent]) {
    let heads: Vec<(i32, Vec<u8>)> = sqlx::query_as(READ_HEADS)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    let mut digests: BTreeMap<Partition, Digest> = BTreeMap::new();
    for (partition, digest) in heads {
        let partition = Partition::try_from(partition).unwrap();
        digests.insert(partition, Digest::from_bytes(&digest).unwrap());
    }
    let mut last: BTreeMap<Partition, &RecordedEvent> = BTreeMap::new();
    for event in events {
        let digest = digests.get_mut(&event.address.partition).unwrap();
        digest.add_recorded(event);
        last.insert(event.address.partition, event);
    }
    for (partition, event) in last {
        sqlx::query(MOVE_HEAD)
            .bind(partition.as_i32())
            .bind(event.address.position)
            .bind(event.recorded_at)
            .bind(&digests[&partition].to_bytes()[..])
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    let first: Vec<_> = events.iter().filter(|event| event.sequence == 1).collect();
    sqlx::query(INSERT_STREAMS)
        .bind(column(first.iter().copied(), |e| e.stream_no))
        .bind(column(first.iter().copied(), |e| {
            e.address.partition.as_i32()
        }))
        .bind(column(first.iter().copied(), |e| e.tenant.as_str()))
        .bind(column(first.iter().copied(), |e| e.aggregate_id.as_str()))
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query(INSERT_EVENTS)
        .bind(column(events.iter(), |e| e.address.position))
        .bind(column(events.iter(), |e| e.stream_no))
        .bind(column(events.iter(), |e| e.sequence))
        .bind(column(events.iter(), |e| e.recorded_at))
        .bind(column(events.iter(), |e| e.address.partition.as_i32()))
        .bind(column(events.iter(), |e| e.event_version))
        .bind(column(events.iter(), |e| e.event_id))
        .bind(column(events.iter(), |e| e.tenant.as_str()))
        .bind(column(events.iter(), |e| e.aggregate_id.as_str()))
        .bind(column(events.iter(), |e| e.event_type.as_str()))
        .bind(column(events.iter(), |e| e.payload.get()))
        .execute(&mut *transaction)
        .await
        .unwrap();
}

fn column<'e, T>(
    events: impl Iterator<Item = &'e RecordedEvent>,
    field: impl Fn(&'e RecordedEvent) -> T,
) -> Vec<T> {
    events.map(field).collect()
}
