//! What the topic holds of a partition, held against the store.

use std::collections::HashMap;

use events::{Address, IncarnationLog, Partition, Record};
use sqlx::PgPool;
use uuid::Uuid;

use super::Relay;
use super::lease::Lease;
use super::resume::{Found, Seen};
use super::step::Trouble;
use super::topic_log::{Ends, LogError, Look};
use crate::incarnation;

const READ_IDS: &str = "
select position, event_id
from event_store.event
where partition = $1 and position = any($2)";

/// How much further back it reads when there are only void and foreign records.
const FURTHER: i64 = 4;

/// What is kept of a record of this store and partition; whether it is void is asked afterwards.
#[derive(Clone, Copy, Debug)]
struct Raw {
    incarnation: i32,
    position: i64,
    event_id: Uuid,
}

/// However many records a look passes, each costs no more.
const _: () = assert!(size_of::<Raw>() <= 32);

/// What one look found.
struct Raws {
    ends: Ends,
    first: Option<Raw>,
    /// The records from here on were read by now; `tail` is the part that this look read.
    from: i64,
    tail: Vec<Raw>,
}

impl Relay {
    /// Reads back the last `count` records of a partition, further until one is neither void nor
    /// foreign. The topic is read before the store, so that the store is never behind it for that
    /// reason.
    pub(super) async fn survey(
        &self,
        partition: Partition,
        lease: Lease,
        count: i64,
    ) -> Result<(Found, i32), Trouble> {
        let store_id = self.inner.store_id;
        let mut count = count.max(1);
        let mut before = None;
        loop {
            let raws = self
                .inner
                .log
                .look(partition, move |look| {
                    let raw = |record: Record| raw(&record, store_id, partition);
                    read_back(look, count, before, raw)
                })
                .await?;
            let log = {
                let _permit = self.inner.reads.acquire().await;
                incarnation::load_log(&self.inner.pool).await?
            };
            let valid = |raw: &Raw| raw.seen(&log, partition);
            let tail: Vec<_> = raws.tail.iter().filter_map(valid).collect();
            let whole = raws.from == raws.ends.low;
            if tail.is_empty() && !whole {
                // What is void or foreign stays so, and is not read again.
                before = Some(raws);
                count = count.saturating_mul(FURTHER);
                continue;
            }
            let first = raws.first.as_ref().and_then(valid);
            let mut found = Found {
                ends: raws.ends,
                first,
                tail,
                whole,
                head: 0,
                floor: 0,
                bound: 0,
                stored: HashMap::new(),
                asked: lease.refill != 0,
            };
            self.ask_store(partition, &log, &mut found).await?;
            return Ok((found, log.current()));
        }
    }

    async fn ask_store(
        &self,
        partition: Partition,
        log: &IncarnationLog,
        found: &mut Found,
    ) -> Result<(), Trouble> {
        let _permit = self.inner.reads.acquire().await;
        let head = self.inner.reader.head(partition).await?;
        if head.incarnation != log.current() {
            return Err(Trouble::Incarnation);
        }
        (found.head, found.floor) = (head.position, head.floor);
        let (number, position) = self.inner.leases.bound(partition).await?;
        found.bound = not_void(log, partition, number, position);
        let asked = found.first.iter().chain(&found.tail);
        let positions: Vec<_> = asked.map(|seen| seen.position).collect();
        found.stored = read_ids(&self.inner.pool, partition, &positions).await?;
        Ok(())
    }
}

impl Raw {
    /// What is not void.
    fn seen(&self, log: &IncarnationLog, partition: Partition) -> Option<Seen> {
        let &Self {
            incarnation,
            position,
            event_id,
        } = self;
        let address = Address {
            partition,
            position,
        };
        let seen = Seen { position, event_id };
        (!log.is_void(incarnation, address)).then_some(seen)
    }
}

/// The part of a lower bound that no later incarnation has made void.
fn not_void(log: &IncarnationLog, partition: Partition, number: i32, position: i64) -> i64 {
    let later = log.rows().iter().filter(|row| row.number > number);
    let heads = later.map(|row| row.heads.get(partition.index()).copied().unwrap_or(0));
    heads.fold(position, i64::min)
}

fn raw(record: &Record, store_id: Uuid, partition: Partition) -> Option<Raw> {
    let Address {
        partition: home,
        position,
    } = record.event.address;
    let ours = record.store_id == store_id && home == partition;
    ours.then_some(Raw {
        incarnation: record.incarnation,
        position,
        event_id: record.event.event_id,
    })
}

/// Reads the last `count` records, or so many before those that were read `before`, and the first
/// one of the log. A log whose ends have moved since is read anew.
fn read_back(
    look: &Look,
    count: i64,
    before: Option<Raws>,
    raw: impl Fn(Record) -> Option<Raw>,
) -> Result<Raws, LogError> {
    let ends = look.ends()?;
    let before = before.filter(|before| before.ends == ends);
    let upto = before.as_ref().map_or(ends.high, |before| before.from);
    let from = ends.low.max(upto - count);
    let mut first = before.as_ref().and_then(|before| before.first);
    if before.is_none() && from > ends.low {
        look.read(ends.low, ends.low + 1, |_, record| first = raw(record))?;
    }
    let mut tail = Vec::new();
    look.read(from, upto, |offset, record| {
        let raw = raw(record);
        if offset == ends.low {
            first = raw;
        }
        tail.extend(raw);
    })?;
    Ok(Raws {
        ends,
        first,
        from,
        tail,
    })
}

async fn read_ids(
    pool: &PgPool,
    partition: Partition,
    positions: &[i64],
) -> Result<HashMap<i64, Uuid>, sqlx::Error> {
    let read = sqlx::query_as(READ_IDS)
        .bind(partition.as_i32())
        .bind(positions);
    let rows: Vec<(i64, Uuid)> = read.fetch_all(pool).await?;
    Ok(rows.into_iter().collect())
}
