//! What the checker found, and how much it looked at: a check over nothing is a failure, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An invariant of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the numbers are those of the list of invariants"
)]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I9,
    I10,
    I11,
    I15,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a history breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// Where in the history.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            invariant,
            place,
            what,
        } = self;
        write!(f, "{invariant} {place}: {what}")
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    violations: Vec<Violation>,
    counts: BTreeMap<&'static str, usize>,
    unchecked: Vec<&'static str>,
}

impl Report {
    pub(super) fn violation(
        &mut self,
        invariant: Invariant,
        place: impl Into<String>,
        what: impl Into<String>,
    ) {
        self.violations.push(Violation {
            invariant,
            place: place.into(),
            what: what.into(),
        });
    }

    /// How many of something there were.
    pub(super) fn counted(&mut self, what: &'static str, count: usize) {
        self.counts.insert(what, count);
    }

    /// The same, of something without which the check says nothing.
    pub(super) fn required(&mut self, what: &'static str, count: usize) {
        self.counted(what, count);
        if count == 0 {
            self.unchecked.push(what);
        }
    }

    /// Every violation, in the order of the checks.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The invariants that are broken.
    #[must_use]
    pub fn broken(&self) -> BTreeSet<Invariant> {
        let invariants = self.violations.iter().map(|violation| violation.invariant);
        invariants.collect()
    }

    /// What there should have been and was not.
    #[must_use]
    pub fn unchecked(&self) -> &[&'static str] {
        &self.unchecked
    }

    /// Nothing is broken, and everything was there to be checked.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.unchecked.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "checked:")?;
        for (what, count) in &self.counts {
            writeln!(f, "  {count:>8} {what}")?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION {violation}")?;
        }
        for what in &self.unchecked {
            writeln!(f, "NOTHING TO CHECK: {what}")?;
        }
        let (broken, unchecked) = (self.violations.len(), self.unchecked.len());
        if self.is_good() {
            write!(f, "verdict: the history keeps every invariant")
        } else {
            write!(
                f,
                "verdict: FAILED, {broken} violations, {unchecked} checks over nothing"
            )
        }
    }
}
