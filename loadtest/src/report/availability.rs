//! Availability beside the nines that operators promise, and whether there were requests enough
//! to tell.

use super::Report;

/// The levels that stand beside every availability, as shares, with their names.
const LEVELS: [(f64, &str); 3] = [
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
];

/// Whether a level was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Yes,
    No,
    /// No error, and so few requests that a single one would have missed the level.
    TooFewToTell,
}

impl Reached {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Yes => "reached",
            Self::No => "missed",
            Self::TooFewToTell => "too few requests to tell",
        }
    }
}

/// Of all runs together: good answers and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) good: u64,
    pub(super) attempted: u64,
}

impl Answered {
    pub(super) fn of(report: &Report) -> Self {
        Self {
            good: report.runs.iter().map(|run| run.good).sum(),
            attempted: report.runs.iter().map(|run| run.attempted).sum(),
        }
    }

    /// Not a number when nothing was asked.
    pub(super) fn share(self) -> f64 {
        self.good as f64 / self.attempted as f64
    }

    /// Every level's name and whether it was reached; none when nothing was asked.
    pub(super) fn levels(self) -> Vec<(&'static str, Reached)> {
        if self.attempted == 0 {
            return vec![];
        }
        LEVELS
            .iter()
            .map(|(level, name)| (*name, self.reaches(*level)))
            .collect()
    }

    fn reaches(self, level: f64) -> Reached {
        // Of 100,000 requests one may fail at 99.999 %; the subtraction is not exact.
        let may_fail = (self.attempted as f64 * (1.0 - level) + 1e-6).floor();
        let failed = self.attempted.saturating_sub(self.good) as f64;
        if failed > may_fail {
            Reached::No
        } else if may_fail < 1.0 {
            Reached::TooFewToTell
        } else {
            Reached::Yes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(good: u64, attempted: u64, expected: [Reached; 3]) {
        let levels = Answered { good, attempted }.levels();
        let reached: Vec<_> = levels.into_iter().map(|(_, reached)| reached).collect();
        assert_eq!(reached, expected);
    }

    #[test]
    fn a_level_is_reached_when_no_more_failed_than_it_allows() {
        use Reached::{No, Yes};
        check(99_999, 100_000, [Yes, Yes, Yes]);
        check(99_998, 100_000, [Yes, Yes, No]);
        check(99_900, 100_000, [Yes, No, No]);
        check(99_899, 100_000, [No, No, No]);
    }

    #[test]
    fn a_thousand_requests_without_an_error_do_not_show_five_nines() {
        use Reached::{TooFewToTell, Yes};
        check(1_000, 1_000, [Yes, TooFewToTell, TooFewToTell]);
    }
}
