//! The statement that writes a batch: its events and its new streams, whatever their number.

use events::{NewEvent, StreamId};
use sqlx::postgres::PgArguments;

use super::candidate::Candidate;
use super::columns::{Columns, JSON, UUID};
use super::connection::LaneConnection;
use super::failure::Failure;
use super::judge::{Overlay, Placed};

const INSERT_EVENTS: &str = "
with written as (
    insert into event_store.event (
        position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
        aggregate_type, aggregate_id, routing_key, event_type, payload, metadata
    )
    select *
    from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
)
insert into event_store.stream (stream_no, partition, aggregate_type, name, routing_key)
select stream_no, partition, aggregate_type, name, routing_key
from unnest($15, $16, $17, $18, $19)
    as created(stream_no, partition, aggregate_type, name, routing_key)";

struct Row<'a> {
    placed: &'a Placed,
    stream: &'a StreamId,
    event: &'a NewEvent,
    recorded_at: i64,
}

/// Writes the events that the judge placed: one round trip.
pub(super) async fn insert_events(
    connection: &mut LaneConnection,
    candidates: &[&Candidate],
    overlay: &Overlay,
    placed: &[Placed],
) -> Result<(), Failure> {
    let rows: Vec<_> = placed
        .iter()
        .map(|placed| row(candidates, overlay, placed))
        .collect();
    connection.run(INSERT_EVENTS, arguments(&rows)?).await?;
    Ok(())
}

fn row<'a>(candidates: &[&'a Candidate], overlay: &Overlay, placed: &'a Placed) -> Row<'a> {
    let write = &candidates[placed.candidate].entry.writes[placed.write];
    Row {
        placed,
        stream: &write.stream,
        event: &write.events[placed.event],
        recorded_at: overlay.heads[placed.head].recorded_at,
    }
}

fn arguments(rows: &[Row<'_>]) -> Result<PgArguments, sqlx::Error> {
    let home = |row: &Row<'_>| row.placed.partition.as_i32();
    let events = Columns::of(rows)
        .int8(|row| row.placed.position)?
        .int8(|row| row.placed.number)?
        .int8(|row| row.placed.sequence)?
        .time(|row| row.recorded_at)?
        .int4(home)?
        .int4(|row| row.event.event_version)?
        .bytes(UUID, |row| row.event.event_id.as_bytes())?
        .text(|row| row.stream.tenant.as_str())?
        .text(|row| row.stream.aggregate_type)?
        .text(|row| &row.stream.id)?
        .text(|row| &row.stream.routing_key)?
        .text(|row| row.event.event_type)?
        .bytes(JSON, |row| row.event.payload.get().as_bytes())?
        .bytes(JSON, |row| row.event.metadata.get().as_bytes())?
        .arguments();
    let created: Vec<_> = rows.iter().filter(|row| row.placed.creates()).collect();
    let created = Columns::after(events, &created)
        .int8(|row| row.placed.number)?
        .int4(|row| home(row))?
        .text(|row| row.stream.aggregate_type)?
        .name(|row| row.stream)?
        .text(|row| &row.stream.routing_key)?
        .arguments();
    Ok(created)
}
