//! What a rebuild has proven, for people and for programs.

use std::fmt;

use serde::Serialize;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The projection.
    pub projection: &'static str,
    /// The generation that was built.
    pub generation: i32,
    /// The revision of its fold.
    pub revision: i32,
    /// The generation that it was compared with, row for row; none when none was shown.
    pub compared_with: Option<i32>,
    /// Whether it is shown now.
    pub switched: bool,
    /// Events that this run read up to the cut.
    pub events: i64,
    /// How long that took, in seconds.
    pub build_seconds: f64,
    /// How long everything took, in seconds.
    pub seconds: f64,
    /// The phases in their order, and how long each took, in seconds.
    pub phases: Vec<(&'static str, f64)>,
    /// What was proven of each partition.
    pub partitions: Vec<PartitionProof>,
    /// Differences that were allowed.
    pub differences: Vec<Difference>,
}

/// applied + parked = position, and the digest is the one that the append kept.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionProof {
    /// The partition.
    pub partition: u16,
    /// The head that it was proven at.
    pub position: i64,
    /// Events that were applied.
    pub applied: i64,
    /// Events that are parked or were given up.
    pub parked: i64,
    /// Of the events 1 to position; the append kept the same.
    pub digest: String,
    /// The first event that is parked and was not given up, and why.
    pub first_parked: Option<(String, String)>,
}

/// On which side a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// In the rebuilt generation only.
    MissingLive,
    /// In the shown generation only.
    MissingRebuilt,
    /// On both, and not the same.
    Changed,
}

/// Rows that differ in the same way. Keys and column names are said, values never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// How.
    pub kind: DifferenceKind,
    /// In which columns, when it is changed.
    pub columns: Vec<String>,
    /// How many rows.
    pub rows: i64,
    /// Some of their keys.
    pub keys: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, rows, .. } = self;
        match self.kind {
            DifferenceKind::MissingLive => {
                write!(f, "{rows} of {table} are missing in what is shown")?
            }
            DifferenceKind::MissingRebuilt => {
                write!(
                    f,
                    "{rows} of {table} are shown and do not follow from the events"
                )?;
            }
            DifferenceKind::Changed => {
                write!(f, "{rows} of {table} differ in {}", self.columns.join(", "))?;
            }
        }
        write!(f, " ({})", self.keys.join(", "))
    }
}
