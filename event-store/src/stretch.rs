//! Reading a partition for a rebuild: closed ranges again, dense or an error, but by COPY in its
//! binary form, of the columns that a fold and the digest look at. Nothing is copied out of what
//! came over the connection: events are borrowed from it.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use events::{Address, EventRef, Partition};
use futures_util::TryStreamExt as _;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::partition_reader::{PartitionReader, RANGES_AHEAD_MAX};
use crate::store::ReadError;

/// In the order in which [`Stretch::events`] takes them.
const COLUMNS: &str = "position, stream_no, sequence, recorded_at, event_version, event_id, \
    tenant_id, aggregate_type, aggregate_id, event_type, payload";

const FIELDS: i16 = 11;

/// What a binary COPY begins with; flags and the length of an extension, both nothing, follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER_BYTES: usize = SIGNATURE.len() + 8;

/// What it ends with, in place of a row's number of fields.
const TRAILER: &[u8] = &[0xff, 0xff];

/// 2000-01-01, from which PostgreSQL counts, in seconds since 1970.
const POSTGRES_EPOCH_SECONDS: i64 = 946_684_800;

/// Consecutive events of one partition, complete.
#[derive(Clone)]
pub struct Stretch {
    partition: Partition,
    after: i64,
    rows: Vec<Bytes>,
}

impl Stretch {
    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The events, in order: each at the position after the one before, or an error.
    pub fn events(&self) -> impl Iterator<Item = Result<EventRef<'_>, ReadError>> {
        let positions = self.after + 1..;
        self.rows.iter().zip(positions).map(|(row, position)| {
            let event = event(self.partition, row).ok_or_else(malformed)?;
            if event.address.position == position {
                Ok(event)
            } else {
                Err(ReadError::Hole {
                    partition: self.partition,
                    position,
                })
            }
        })
    }
}

impl PartitionReader {
    /// As [`Self::read_ahead`], for a rebuild. It keeps one connection until it ends.
    #[must_use]
    pub fn read_stretches(
        &self,
        partition: Partition,
        after: i64,
        upto: i64,
        range: u32,
    ) -> mpsc::Receiver<Result<Stretch, ReadError>> {
        let (ahead, stretches) = mpsc::channel(RANGES_AHEAD_MAX);
        let reader = self.clone();
        tokio::spawn(async move {
            if let Err(error) = reader.send_all(&ahead, partition, after, upto, range).await {
                // Whoever does not listen any more does not need it.
                let _unheard = ahead.send(Err(error)).await;
            }
        });
        stretches
    }

    async fn send_all(
        &self,
        ahead: &mpsc::Sender<Result<Stretch, ReadError>>,
        partition: Partition,
        after: i64,
        upto: i64,
        range: u32,
    ) -> Result<(), ReadError> {
        let mut connection = Copying(Some(self.pool.acquire().await?));
        let mut at = after;
        while at < upto {
            let end = upto.min(at.saturating_add(i64::from(range.max(1))));
            let stretch = connection.read(partition, at, end).await?;
            let found = i64::try_from(stretch.len()).unwrap_or(i64::MAX);
            if found < end - at {
                connection.release();
                let missing = stretch.first_missing()?;
                return Err(self.why_missing(partition, after, missing).await?);
            }
            if ahead.send(Ok(stretch)).await.is_err() {
                break;
            }
            at = end;
        }
        connection.release();
        Ok(())
    }
}

impl Stretch {
    fn first_missing(&self) -> Result<i64, ReadError> {
        let mut expected = self.after + 1;
        for event in self.events() {
            match event {
                Ok(_) => expected += 1,
                Err(ReadError::Hole { position, .. }) => return Ok(position),
                Err(error) => return Err(error),
            }
        }
        Ok(expected)
    }
}

/// A connection whose COPY was not read to its end is of no more use to anybody, so it is closed
/// unless it was released.
struct Copying(Option<PoolConnection<Postgres>>);

impl Copying {
    async fn read(
        &mut self,
        partition: Partition,
        after: i64,
        upto: i64,
    ) -> Result<Stretch, ReadError> {
        let connection = self.0.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let number = partition.0;
        let statement = format!(
            "copy (
                select {COLUMNS}
                from event_store.event
                where partition = {number} and position > {after} and position <= {upto}
                order by position
            ) to stdout (format binary)"
        );
        let mut messages = connection.copy_out_raw(&statement).await?;
        let mut rows = Vec::new();
        let mut is_first = true;
        while let Some(mut row) = messages.try_next().await? {
            if std::mem::take(&mut is_first) {
                if !row.starts_with(SIGNATURE) || row.len() < HEADER_BYTES {
                    return Err(malformed());
                }
                row = row.slice(HEADER_BYTES..);
            }
            if !row.is_empty() && row[..] != *TRAILER {
                rows.push(row);
            }
        }
        Ok(Stretch {
            partition,
            after,
            rows,
        })
    }

    fn release(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

fn malformed() -> ReadError {
    ReadError::Database(sqlx::Error::Decode(
        "a row of a binary COPY has another form".into(),
    ))
}

fn event(partition: Partition, row: &[u8]) -> Option<EventRef<'_>> {
    let mut fields = Fields(row.strip_prefix(&FIELDS.to_be_bytes())?);
    Some(EventRef {
        address: Address {
            partition,
            position: fields.long()?,
        },
        stream_no: fields.long()?,
        sequence: fields.long()?,
        recorded_at: fields.instant()?,
        event_version: i32::from_be_bytes(fields.next()?.try_into().ok()?),
        event_id: Uuid::from_bytes(fields.next()?.try_into().ok()?),
        tenant: fields.text()?,
        aggregate_type: fields.text()?,
        aggregate_id: fields.text()?,
        event_type: fields.text()?,
        payload: fields.text()?,
    })
}

/// What is left of a row: each field is its length and its bytes; none is null.
struct Fields<'r>(&'r [u8]);

impl<'r> Fields<'r> {
    fn next(&mut self) -> Option<&'r [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.next()?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'r str> {
        std::str::from_utf8(self.next()?).ok()
    }

    fn instant(&mut self) -> Option<DateTime<Utc>> {
        let epoch = DateTime::from_timestamp(POSTGRES_EPOCH_SECONDS, 0)?;
        epoch.checked_add_signed(TimeDelta::microseconds(self.long()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[&[u8]]) -> Vec<u8> {
        let mut row = FIELDS.to_be_bytes().to_vec();
        for field in fields {
            let length = i32::try_from(field.len()).expect("a short field");
            row.extend_from_slice(&length.to_be_bytes());
            row.extend_from_slice(field);
        }
        row
    }

    fn long(number: i64) -> [u8; 8] {
        number.to_be_bytes()
    }

    fn at(position: i64) -> Bytes {
        let version = 1_i32.to_be_bytes();
        let id = [7; 16];
        let (position, one, time) = (long(position), long(1), long(1_500_000));
        row(&[
            &position,
            &one,
            &one,
            &time,
            &version,
            &id,
            b"acme",
            b"user",
            b"u1",
            b"Happened",
            b"{\"a\": 1}",
        ])
        .into()
    }

    fn stretch(rows: Vec<Bytes>) -> Stretch {
        Stretch {
            partition: Partition(3),
            after: 4,
            rows,
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let one = stretch(vec![at(5)]);
        let event = one.events().next().expect("one").expect("an event");
        assert_eq!(event.address.position, 5);
        assert_eq!((event.tenant, event.payload), ("acme", "{\"a\": 1}"));
        assert_eq!(event.event_id, Uuid::from_bytes([7; 16]));
        let time = event.recorded_at.to_rfc3339();
        assert_eq!(time, "2000-01-01T00:00:01.500+00:00");
    }

    #[test]
    fn a_position_that_is_missing_repeated_or_cut_short_is_an_error() {
        for rows in [
            vec![at(6)],
            vec![at(5), at(5)],
            vec![at(5), at(7)],
            vec![at(5).slice(..at(5).len() - 1)],
        ] {
            let read: Result<Vec<_>, _> = stretch(rows).events().map(|e| e.map(|_| ())).collect();
            assert!(read.is_err());
        }
        let two = stretch(vec![at(5), at(7)]);
        assert_eq!(two.first_missing().expect("rows that can be read"), 6);
    }
}
