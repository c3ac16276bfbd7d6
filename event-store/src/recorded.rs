//! How a row of `event_store.event` becomes a [`RecordedEvent`]. Every statement that reads events
//! names the same columns in the same order.

use events::{Address, Partition, RecordedEvent, TenantId};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Error, Row};

/// The columns that [`recorded`] reads, for `concat!` into a statement's select list.
macro_rules! event_columns {
    () => {
        "event.partition, event.position, event.stream_no, event.sequence, event.event_id,
    event.tenant_id, event.aggregate_type, event.aggregate_id, event.routing_key, event.event_type,
    event.event_version, event.payload, event.metadata, event.recorded_at"
    };
}
pub(crate) use event_columns;

/// Reads a row whose first columns are [`event_columns`].
pub(crate) fn recorded(row: &PgRow) -> Result<RecordedEvent, Error> {
    let partition: i32 = row.try_get(0)?;
    let tenant: &str = row.try_get(5)?;
    let Json(payload): Json<Box<RawValue>> = row.try_get(11)?;
    let Json(metadata): Json<Box<RawValue>> = row.try_get(12)?;
    Ok(RecordedEvent {
        address: Address {
            partition: Partition::try_from(partition).map_err(|error| decode(0, error))?,
            position: row.try_get(1)?,
        },
        stream_no: row.try_get(2)?,
        sequence: row.try_get(3)?,
        event_id: row.try_get(4)?,
        tenant: TenantId::parse(tenant).map_err(|error| decode(5, error))?,
        aggregate_type: row.try_get(6)?,
        aggregate_id: row.try_get(7)?,
        routing_key: row.try_get(8)?,
        event_type: row.try_get(9)?,
        event_version: row.try_get(10)?,
        payload,
        metadata,
        recorded_at: row.try_get(13)?,
    })
}

fn decode(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ColumnDecode {
        index: column.to_string(),
        source: Box::new(error),
    }
}
