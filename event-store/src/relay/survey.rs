//! What the topic holds of a partition, held against the store.

use std::collections::HashMap;

use events::{Address, IncarnationLog, Partition};
use sqlx::PgPool;
use uuid::Uuid;

use super::Relay;
use super::lease::Lease;
use super::resume::{Found, Seen};
use super::step::Trouble;
use super::topic_log::{Ends, Look};
use crate::incarnation;

const READ_IDS: &str = "
select position, event_id
from event_store.event
where partition = $1 and position = any($2)";

/// How much further back it reads when there are only void and foreign records.
const FURTHER: i64 = 4;

/// A record as it was read; the store has not been asked about it yet.
#[derive(Clone, Copy, Debug)]
struct Raw {
    store_id: Uuid,
    incarnation: i32,
    address: Address,
    event_id: Uuid,
}

struct Raws {
    ends: Ends,
    first: Option<Raw>,
    tail: Vec<Raw>,
    whole: bool,
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
        let mut count = count.max(1);
        loop {
            let raws = self
                .inner
                .log
                .look(partition, move |look| read_back(look, count))
                .await?;
            let log = {
                let _permit = self.inner.reads.acquire().await;
                incarnation::load_log(&self.inner.pool).await?
            };
            let ours = |raw: &Raw| self.seen(partition, &log, raw);
            let tail: Vec<_> = raws.tail.iter().filter_map(ours).collect();
            if tail.is_empty() && !raws.whole {
                count = count.saturating_mul(FURTHER);
                continue;
            }
            let first = raws.first.as_ref().and_then(ours);
            let mut found = Found {
                ends: raws.ends,
                first,
                tail,
                whole: raws.whole,
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

    /// A record of this store and partition that is not void.
    fn seen(&self, partition: Partition, log: &IncarnationLog, raw: &Raw) -> Option<Seen> {
        let ours = raw.store_id == self.inner.store_id && raw.address.partition == partition;
        let valid = ours && !log.is_void(raw.incarnation, raw.address);
        valid.then_some(Seen {
            position: raw.address.position,
            event_id: raw.event_id,
        })
    }
}

/// The part of a lower bound that no later incarnation has made void.
fn not_void(log: &IncarnationLog, partition: Partition, number: i32, position: i64) -> i64 {
    let later = log.rows().iter().filter(|row| row.number > number);
    let heads = later.map(|row| row.heads.get(partition.index()).copied().unwrap_or(0));
    heads.fold(position, i64::min)
}

fn read_back(look: &Look, count: i64) -> Result<Raws, super::LogError> {
    let ends = look.ends()?;
    let from = ends.low.max(ends.high - count);
    let raw = |record: Option<events::record::Record>| {
        record.map(|record| Raw {
            store_id: record.store_id,
            incarnation: record.incarnation,
            address: record.event.address,
            event_id: record.event.event_id,
        })
    };
    let first = look.records(ends.low, ends.high.min(ends.low + 1))?;
    let tail = look.records(from, ends.high)?;
    Ok(Raws {
        ends,
        first: first.into_iter().next().and_then(raw),
        tail: tail.into_iter().filter_map(raw).collect(),
        whole: from == ends.low,
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
