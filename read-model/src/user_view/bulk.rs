//! The fold of a whole partition in memory, for rebuilds: the same rows as `apply` writes, by one
//! COPY.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem::size_of;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::EventRef;
use events::stream::USER;
use sqlx::PgConnection;

use super::{UserRow, read};
use crate::projection::{ApplyError, BulkFold, Target};

/// Rows are sent in pieces of about this size.
const PIECE_BYTES: usize = 256 * 1024;

/// What a row costs in the map besides its texts.
const ROW_BYTES: usize = size_of::<UserRow>() + 2 * size_of::<i64>();

/// COPY's binary form: a signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What stands in place of a row's number of fields after the last row.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// How many fields a row has.
const FIELDS: i16 = 15;

/// The length of a field that is null.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The users of one partition. A stream is known by its number there, which is cheaper to look up
/// than tenant and id, and says the same.
#[derive(Default)]
pub(super) struct UserBulk {
    rows: HashMap<i64, UserRow>,
    bytes: usize,
}

#[async_trait]
impl BulkFold for UserBulk {
    fn fold(&mut self, recorded: EventRef<'_>) -> Result<(), ApplyError> {
        if recorded.aggregate_type != USER {
            return Ok(());
        }
        let position = recorded.address.position;
        let contradicts = |reason| ApplyError::Fold { position, reason };
        let event = read(recorded)?;
        match self.rows.entry(recorded.stream_no) {
            Entry::Vacant(place) => {
                let row = UserRow::first(recorded, event).map_err(contradicts)?;
                self.bytes += bytes(place.insert(row));
            }
            Entry::Occupied(mut row) => {
                let row = row.get_mut();
                self.bytes -= bytes(row);
                row.next(recorded, event).map_err(contradicts)?;
                self.bytes += bytes(row);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    async fn copy(
        self: Box<Self>,
        connection: &mut PgConnection,
        target: Target,
    ) -> Result<u64, ApplyError> {
        let statement = format!(
            "copy read_model.user_view_g{} (tenant, id, home, version, status, email, email_hash,
                email_key_version, name, region, bio, display_name, avatar_url, created_at,
                last_active) from stdin (format binary)",
            target.generation
        );
        let mut copy = connection.copy_in_raw(&statement).await?;
        let mut piece = Vec::with_capacity(PIECE_BYTES * 2);
        piece.extend_from_slice(HEADER);
        for row in self.rows.values() {
            put_row(&mut piece, target.partition.as_i32(), row);
            if piece.len() >= PIECE_BYTES {
                copy.send(piece.as_slice()).await?;
                piece.clear();
            }
        }
        piece.extend_from_slice(&TRAILER);
        copy.send(piece.as_slice()).await?;
        Ok(copy.finish().await?)
    }
}

fn bytes(row: &UserRow) -> usize {
    let texts = [
        &row.email,
        &row.name,
        &row.bio,
        &row.display_name,
        &row.avatar_url,
    ];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    ROW_BYTES + row.tenant.as_str().len() + row.region.len() + texts
}

fn put_row(to: &mut Vec<u8>, home: i32, row: &UserRow) {
    to.extend_from_slice(&FIELDS.to_be_bytes());
    put(to, row.tenant.as_str().as_bytes());
    put(to, row.id.as_bytes());
    put(to, &home.to_be_bytes());
    put(to, &row.version.to_be_bytes());
    put(to, &(row.status as i16).to_be_bytes());
    put_text(to, row.email.as_deref());
    match &row.email_key {
        None => {
            to.extend_from_slice(&NULL);
            to.extend_from_slice(&NULL);
        }
        Some(key) => {
            put(to, &key.hash);
            put(to, &key.key_version.to_be_bytes());
        }
    }
    put_text(to, row.name.as_deref());
    put(to, row.region.as_bytes());
    for text in [&row.bio, &row.display_name, &row.avatar_url] {
        put_text(to, text.as_deref());
    }
    put(to, &since_epoch(row.created_at));
    put(to, &since_epoch(row.last_active));
}

fn put_text(to: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put(to, text.as_bytes()),
        None => to.extend_from_slice(&NULL),
    }
}

fn put(to: &mut Vec<u8>, field: &[u8]) {
    let length = i32::try_from(field.len()).expect("an event's fields are shorter than 256 KiB");
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(field);
}

/// A row's instants are whole microseconds of years that have four digits.
fn since_epoch(instant: DateTime<Utc>) -> [u8; 8] {
    (instant.timestamp_micros() - POSTGRES_EPOCH_MICROS).to_be_bytes()
}
