//! Locking the keys that a batch touches, before it is judged, and writing what the judge made of
//! them.
//!
//! One statement a table, always in the order outcome, claim, home, each sorted by primary key:
//! every key is inserted as a placeholder or locked. (`do nothing` would not lock; two sorted
//! statements over one table deadlock.) Afterwards nothing in the transaction waits.

mod claims;
mod homes;
mod outcomes;

use std::time::Duration;

use self::claims::Claims;
use self::homes::Homes;
use self::outcomes::Outcomes;
use super::candidate::Candidate;
use super::connection::LaneConnection;
use super::failure::Failure;
use super::judge::Overlay;

/// The rows that a batch holds, in the order of their primary keys.
#[derive(Debug)]
pub(super) struct Held<'a> {
    outcomes: Outcomes<'a>,
    claims: Claims<'a>,
    homes: Homes<'a>,
}

impl<'a> Held<'a> {
    /// The keys that the candidates touch, each once.
    pub(super) fn of(candidates: &[&'a Candidate]) -> Self {
        Self {
            outcomes: Outcomes::of(candidates),
            claims: Claims::of(candidates),
            homes: Homes::of(candidates),
        }
    }

    /// Inserts or locks every key and tells the overlay what stands there: one round trip a table
    /// that has any. Answers are kept for `retention` from `now` on (microseconds since 1970).
    pub(super) async fn acquire(
        &mut self,
        connection: &mut LaneConnection,
        overlay: &mut Overlay,
        now: i64,
        retention: Duration,
    ) -> Result<(), Failure> {
        let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX / 4);
        self.outcomes
            .acquire(connection, overlay, now.saturating_add(retention))
            .await?;
        self.claims.acquire(connection, overlay).await?;
        self.homes.acquire(connection, overlay).await
    }

    /// Whether the judge changed any of the rows; a placeholder that stays one is no change.
    pub(super) fn is_changed(&self, overlay: &Overlay) -> bool {
        self.outcomes.is_changed(overlay)
            || self.claims.is_changed(overlay)
            || self.homes.is_changed(overlay)
    }

    /// Writes what the judge made of the rows, and takes unused placeholders away: one round trip a
    /// table that has any.
    pub(super) async fn settle(
        &self,
        connection: &mut LaneConnection,
        overlay: &Overlay,
    ) -> Result<(), Failure> {
        self.outcomes.settle(connection, overlay).await?;
        self.claims.settle(connection, overlay).await?;
        self.homes.settle(connection, overlay).await
    }
}

/// The rows come back in the order in which they were asked for; anything else would give a key
/// another's row.
fn same_order(rows: usize, asked: usize, same_keys: bool) -> Result<(), Failure> {
    if rows == asked && same_keys {
        Ok(())
    } else {
        Err(Failure::Nonsense("locked keys in another order"))
    }
}
