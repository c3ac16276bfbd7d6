//! `applied`: up to which position every effect of a partition has been written to Redis, under
//! which epoch, and in which run of the server. It is believed only in that run.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The key generation: values of another epoch are cold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// A new one, which never was and never comes back.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// The value of an `applied` key: `<epoch> <position> <run_id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The epoch of the values that it vouches for.
    pub epoch: Epoch,
    /// The position up to which every effect has been written.
    pub position: i64,
    /// `run_id` of the server that it was written to. A server with another one has loaded a dump
    /// or was a replica, and may lack writes.
    pub run_id: String,
}

impl Mark {
    /// Reads the text of an `applied` key; nothing when it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let epoch = words.next()?.parse().ok()?;
        let position = words.next()?.parse().ok()?;
        let run_id = words.next()?.to_owned();
        words.next().is_none().then_some(Self {
            epoch,
            position,
            run_id,
        })
    }

    /// Whether it was written to this very run of the server: otherwise everything is cold.
    #[must_use]
    pub fn is_of_run(&self, run_id: &str) -> bool {
        self.run_id == run_id
    }

    /// Whether a fill that is true as of `position` keeps the mark's promise. It always does, but
    /// after a crash of PostgreSQL, which may take checkpoints back by a second.
    #[must_use]
    pub fn may_fill(&self, position: i64) -> bool {
        position >= self.position
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.epoch, self.position, self.run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let mark = Mark {
            epoch: Epoch::random(),
            position: 1042,
            run_id: "abc".to_owned(),
        };
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        for text in ["", "x 1 a", "1 x a", "1 1", "1 1 a b"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }
}
