//! Whom each contender of ours is compared with, and how well it is to do.

use super::contender::{BARE, HIT, POSTGRES, REDIS};
use super::go::{GO_HIT, GO_POSTGRES, GO_REDIS};
use crate::figure::Mark;

/// A contender of ours beside its yardstick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    /// In the table.
    pub(super) what: &'static str,
    pub(super) ours: &'static str,
    pub(super) yardstick: &'static str,
    /// For our requests/s by the yardstick's.
    pub(super) rate: Mark,
    /// For our p99 by the yardstick's, at half of its best rate.
    pub(super) p99: Option<Mark>,
}

impl Comparison {
    /// Whether it is with the Go yardstick, which is not everywhere.
    pub(super) fn is_with_go(&self) -> bool {
        self.yardstick != BARE
    }

    /// Its row of the latency.
    pub(super) fn p99_row(&self) -> String {
        format!("{}, p99 at half of its best", self.what)
    }
}

/// The marks are those of the design.
pub(super) const COMPARISONS: [Comparison; 4] = [
    Comparison {
        what: "query hit over HTTP, by bare actix-web",
        ours: HIT,
        yardstick: BARE,
        rate: Mark::AtLeast(0.8),
        p99: None,
    },
    with_go("in-process hit, by Go", HIT, GO_HIT, 2.0),
    with_go("Redis hit, by Go", REDIS, GO_REDIS, 2.0),
    with_go("PostgreSQL read, by Go", POSTGRES, GO_POSTGRES, 1.5),
];

const fn with_go(
    what: &'static str,
    ours: &'static str,
    yardstick: &'static str,
    rate: f64,
) -> Comparison {
    Comparison {
        what,
        ours,
        yardstick,
        rate: Mark::AtLeast(rate),
        p99: Some(Mark::AtMost(0.5)),
    }
}
