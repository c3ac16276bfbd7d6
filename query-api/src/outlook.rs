//! What this process knows of the store and the view: heads, incarnations, the active generation
//! and its checkpoints, as one look at the primary showed them. Tokens are judged by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use events::{
    Address, ConsistencyToken, Incarnation, IncarnationLog, Partition, PartitionCount, TokenEntry,
};
use read_model::cache::Namespace;
use read_model::checkpoint::{self, Checkpoint, Standing};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// Heads and the checkpoints of the active generation, in one snapshot.
pub(crate) const LOOK: &str = "\
    select h.partition, h.position as head, pg_is_in_recovery() as replica,
           g.generation, g.revision, c.incarnation, c.position, c.parked_version,
           (select store_id from event_store.settings) as store_id
    from event_store.partition_head h
    left join projection.generation g on g.projection = $1 and g.state = 'active'
    left join projection.checkpoint c on c.projection = g.projection
      and c.generation = g.generation and c.partition = h.partition
    order by h.partition";

/// Every incarnation of the store.
pub(crate) const INCARNATIONS: &str =
    "select number, heads from event_store.incarnation order by number";

/// Why a look showed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    /// The database failed.
    #[error("looking at the store failed")]
    Database(#[from] sqlx::Error),
    /// The server is a replica: it cannot say what the head is.
    #[error("the server is a replica, and tokens are judged by the primary")]
    Replica,
    /// No store was made in this database yet.
    #[error("there is no event store in this database yet")]
    NoStore,
}

/// One look.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// Which histories of the store there were.
    pub(crate) incarnations: IncarnationLog,
    /// The active generation of `user_view` and how far it has come; none while it is filled.
    pub(crate) standing: Option<Standing>,
    /// What the keys of this store begin with in Redis.
    pub(crate) namespace: Option<Namespace>,
    heads: Vec<i64>,
    seen: Arc<Seen>,
    looked: Looked,
}

/// What the look itself showed, and when it began; news may have moved the checkpoints on since.
#[derive(Clone, Debug)]
struct Looked {
    at: Instant,
    applied: Arc<[i64]>,
}

/// The highest checkpoint of each partition that PostgreSQL has shown to this process in one
/// incarnation. After a crash of PostgreSQL (projections commit asynchronously) it shows a lower
/// one for a moment, and such rows must not be served.
#[derive(Debug)]
struct Seen {
    incarnation: i32,
    positions: Vec<AtomicI64>,
}

/// What a token turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Every position of it exists.
    Good,
    /// It names a position above the head, or a partition or incarnation that never was.
    Unknown,
    /// It names a position that was lost.
    Void,
}

/// Looks at the primary; `before` hands on what earlier looks have seen.
///
/// # Errors
/// [`LookError`].
pub(crate) async fn look(
    connection: &mut PgConnection,
    projection: &str,
    before: Option<&Outlook>,
) -> Result<Outlook, LookError> {
    let at = Instant::now();
    let log = sqlx::query(INCARNATIONS)
        .fetch_all(&mut *connection)
        .await?;
    let log: Vec<_> = log.iter().map(incarnation).collect::<sqlx::Result<_>>()?;
    let incarnations = IncarnationLog::new(log).ok_or(LookError::NoStore)?;
    let rows = sqlx::query(LOOK)
        .bind(projection)
        .fetch_all(connection)
        .await?;
    let first = rows.first().ok_or(LookError::NoStore)?;
    if first.try_get("replica")? {
        return Err(LookError::Replica);
    }
    let heads: Vec<i64> = rows
        .iter()
        .map(|row| row.try_get("head"))
        .collect::<Result<_, _>>()?;
    let store_id: Option<Uuid> = first.try_get("store_id")?;
    let standing = standing(&rows)?;
    let applied = applied(standing.as_ref());
    let seen = seen(before, incarnations.current(), heads.len());
    let outlook = Outlook {
        incarnations,
        standing,
        namespace: store_id.map(Namespace::of_store),
        heads,
        seen,
        looked: Looked { at, applied },
    };
    for checkpoint in outlook
        .standing
        .iter()
        .flat_map(|standing| &standing.checkpoints)
    {
        outlook.shown(checkpoint);
    }
    Ok(outlook)
}

fn incarnation(row: &PgRow) -> sqlx::Result<Incarnation> {
    Ok(Incarnation {
        number: row.try_get("number")?,
        heads: row.try_get("heads")?,
    })
}

fn standing(rows: &[PgRow]) -> sqlx::Result<Option<Standing>> {
    let Some(generation) = rows[0].try_get::<Option<i32>, _>("generation")? else {
        return Ok(None);
    };
    let revision = rows[0].try_get("revision")?;
    let checkpoints = rows
        .iter()
        .map(checkpoint::read)
        .collect::<sqlx::Result<_>>()?;
    Ok(Some(Standing {
        generation,
        revision,
        checkpoints,
    }))
}

fn applied(standing: Option<&Standing>) -> Arc<[i64]> {
    let checkpoints = standing.map_or(&[][..], |standing| &standing.checkpoints);
    checkpoints.iter().map(|one| one.position).collect()
}

fn seen(before: Option<&Outlook>, incarnation: i32, partitions: usize) -> Arc<Seen> {
    let known = before.map(|outlook| &outlook.seen);
    let same =
        |seen: &&Arc<Seen>| seen.incarnation == incarnation && seen.positions.len() == partitions;
    known.filter(same).cloned().unwrap_or_else(|| {
        let positions = (0..partitions).map(|_| AtomicI64::new(0)).collect();
        Arc::new(Seen {
            incarnation,
            positions,
        })
    })
}

impl Outlook {
    /// How many partitions the store has.
    pub(crate) fn partitions(&self) -> PartitionCount {
        let count = u16::try_from(self.heads.len())
            .ok()
            .and_then(PartitionCount::new);
        count.expect("the store checks the number of its partitions when it is made")
    }

    /// The checkpoint of a partition; 0 while the view is filled.
    pub(crate) fn applied(&self, partition: Partition) -> i64 {
        let standing = self.standing.as_ref();
        let checkpoint = standing.and_then(|standing| standing.of(partition));
        checkpoint.map_or(0, |checkpoint| checkpoint.position)
    }

    /// When the look began.
    pub(crate) fn looked_at(&self) -> Instant {
        self.looked.at
    }

    /// The checkpoint of a partition as the look showed it, without later news.
    pub(crate) fn looked(&self, partition: Partition) -> i64 {
        let position = self.looked.applied.get(partition.index());
        position.copied().unwrap_or(0)
    }

    /// Whether what the checkpoint stands for was lost: the view is then filled anew.
    #[must_use]
    pub(crate) fn is_void(&self, checkpoint: &Checkpoint) -> bool {
        self.incarnations
            .is_void(checkpoint.incarnation, checkpoint.address())
    }

    /// Whether what was read at this position was lost since: an entry of the cache can outlive the
    /// history that it was read in, for the moment until the cache is emptied.
    #[must_use]
    pub(crate) fn is_lost(&self, stamp: TokenEntry) -> bool {
        stamp.incarnation != self.incarnations.current()
            && self.incarnations.is_void(stamp.incarnation, stamp.address)
    }

    /// Whether rows of the partition can be served: a generation is active and nothing of it lost.
    #[must_use]
    pub(crate) fn serves(&self, partition: Partition) -> bool {
        let checkpoint = self
            .standing
            .as_ref()
            .and_then(|standing| standing.of(partition));
        checkpoint.is_some_and(|checkpoint| !self.is_void(checkpoint))
    }

    /// Judges a token by this look.
    pub(crate) fn judge(&self, token: &ConsistencyToken) -> Judgement {
        let entries = || token.entries().iter();
        if entries().any(|entry| entry.incarnation < 1) {
            return Judgement::Unknown;
        }
        if entries().any(|entry| self.incarnations.is_void(entry.incarnation, entry.address)) {
            return Judgement::Void;
        }
        let exists = |address: Address| {
            self.heads
                .get(address.partition.index())
                .is_some_and(|head| address.position <= *head)
        };
        if entries().all(|entry| exists(entry.address)) {
            Judgement::Good
        } else {
            Judgement::Unknown
        }
    }

    /// The highest checkpoint of the partition that PostgreSQL has shown.
    pub(crate) fn seen(&self, partition: Partition) -> i64 {
        let seen = self.seen.positions.get(partition.index());
        seen.map_or(0, |position| position.load(Ordering::Acquire))
    }

    /// PostgreSQL showed a checkpoint.
    pub(crate) fn shown(&self, checkpoint: &Checkpoint) {
        if let Some(seen) = self.seen.positions.get(checkpoint.partition.index())
            && !self.is_void(checkpoint)
        {
            seen.fetch_max(checkpoint.position, Ordering::AcqRel);
        }
    }

    /// The same with one checkpoint further on, as the engine in this process said. Nothing when it
    /// is about another generation or old news.
    #[must_use]
    pub(crate) fn advanced(
        &self,
        generation: i32,
        partition: Partition,
        position: i64,
    ) -> Option<Self> {
        let mut standing = self.standing.clone()?;
        let checkpoint = standing
            .checkpoints
            .iter_mut()
            .find(|checkpoint| checkpoint.partition == partition)?;
        if standing.generation != generation || checkpoint.position >= position {
            return None;
        }
        checkpoint.position = position;
        let mut heads = self.heads.clone();
        let head = heads.get_mut(partition.index())?;
        *head = position.max(*head);
        let (incarnations, seen) = (self.incarnations.clone(), Arc::clone(&self.seen));
        Some(Self {
            incarnations,
            standing: Some(standing),
            namespace: self.namespace.clone(),
            heads,
            seen,
            looked: self.looked.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook() -> Outlook {
        let log = vec![
            Incarnation {
                number: 1,
                heads: vec![0, 0],
            },
            Incarnation {
                number: 2,
                heads: vec![10, 5],
            },
        ];
        let checkpoint = |partition, position| Checkpoint {
            partition: Partition(partition),
            incarnation: 2,
            position,
            parked_version: 0,
        };
        let checkpoints = vec![checkpoint(0, 12), checkpoint(1, 7)];
        let standing = Some(Standing {
            generation: 3,
            revision: 1,
            checkpoints,
        });
        let looked = Looked {
            at: Instant::now(),
            applied: applied(standing.as_ref()),
        };
        Outlook {
            incarnations: IncarnationLog::new(log).expect("a log"),
            standing,
            namespace: None,
            heads: vec![20, 7],
            seen: seen(None, 2, 2),
            looked,
        }
    }

    #[test]
    fn a_token_is_good_up_to_the_head_unknown_above_it_and_void_when_it_was_lost() {
        let outlook = outlook();
        let judge = |text: &str| outlook.judge(&text.parse().expect("a token"));
        assert_eq!(judge("2.0.20_1.1.5"), Judgement::Good);
        assert_eq!(judge("2.0.21"), Judgement::Unknown);
        assert_eq!(judge("2.2.1"), Judgement::Unknown, "no such partition");
        assert_eq!(
            (judge("1.0.11"), judge("3.0.1")),
            (Judgement::Void, Judgement::Void)
        );
    }

    #[test]
    fn a_cached_reading_is_lost_when_its_history_went_on_without_it() {
        let outlook = outlook();
        let read_at = |text: &str| {
            let token: ConsistencyToken = text.parse().expect("a token");
            outlook.is_lost(token.entries()[0])
        };
        assert!(!read_at("2.0.12"));
        assert!(!read_at("1.0.10"), "both histories have it");
        assert!(read_at("1.0.11"));
    }

    #[test]
    fn news_of_the_active_generation_moves_a_checkpoint_on_and_never_back() {
        let outlook = outlook();
        let later = outlook.advanced(3, Partition(1), 9).expect("news");
        assert_eq!(
            (later.applied(Partition(1)), later.applied(Partition(0))),
            (9, 12)
        );
        assert_eq!(later.looked(Partition(1)), 7, "the look showed no more");
        assert_eq!(
            later.judge(&"2.1.9".parse().expect("a token")),
            Judgement::Good
        );
        assert!(outlook.advanced(3, Partition(1), 7).is_none(), "old news");
        assert!(
            outlook.advanced(4, Partition(1), 9).is_none(),
            "another generation"
        );
    }

    #[test]
    fn the_highest_checkpoint_shown_is_remembered_unless_it_is_void() {
        let outlook = outlook();
        for (incarnation, position) in [(2, 12), (2, 11), (1, 15)] {
            let partition = Partition(0);
            outlook.shown(&Checkpoint {
                partition,
                incarnation,
                position,
                parked_version: 0,
            });
        }
        assert_eq!(outlook.seen(Partition(0)), 12);
    }
}
