//! The history checker: judges a recorded history and nothing else. It runs no server, reads no
//! clock and shares no line with what it judges: rows are folded by `testkit`'s own fold.
//!
//! | module | invariants |
//! |---|---|
//! | `acknowledged` | I1: done = its event, refused = none, unknown = none or one |
//! | `store` | I2, I3: sequences, positions, and what tailing readers met |
//! | `topic` | I4: Kafka without void records is the event table |
//! | `rows` | I5: each row is the fold of its events, each checkpoint is the head |
//! | `sessions` | I6, I7: versions never go back, a token shows its write; I5 of each answer |
//! | `tenants` | I9: no canary of another tenant |
//! | `keys` | I10: one key, one effect, one answer |
//! | `cached` | I11: cached values and settled reads are the rows; staleness under load |
//!
//! I15 is in all of them: what belongs to a history that the store lost is *void* and must show
//! nowhere; see [`index::Index::phantom`].

mod acknowledged;
mod cached;
mod index;
mod keys;
mod report;
mod rows;
mod sessions;
mod shown;
mod store;
mod tenants;
mod topic;

use crate::history::History;
use index::Index;

pub use report::{Invariant, Report, Violation};

/// Judges a history.
#[must_use]
pub fn check(history: &History) -> Report {
    let mut report = Report::default();
    let index = Index::of(history);
    if index.is_void_itself() {
        report.violation(Invariant::I15, "incarnations", "there is none, or no order");
    }
    acknowledged::check(&index, &mut report);
    store::check(&index, &mut report);
    topic::check(&index, &mut report);
    rows::check(&index, &mut report);
    sessions::check(&index, &mut report);
    tenants::check(&index, &mut report);
    keys::check(&index, &mut report);
    cached::check(&index, &mut report);
    report
}
