//! The history format: a folder of JSON lines, one file a kind. Clients append to it while they
//! run, each line in one write, so that a killed run leaves whole lines; the dumps are taken when
//! everything has come to rest. The checker needs nothing but the folder.
//!
//! | file | a line is | written |
//! |---|---|---|
//! | `scene` | [`Scene`]: what the run was (one line) | at the start |
//! | `operations` | [`Operation`]: a request and what its client was told | by clients |
//! | `faults` | [`Fault`]: what was done to the system, and when | by the runner |
//! | `seen` | [`Seen`]: an event as a tailing reader met it, in its order | by tailing readers |
//! | `incarnations` | [`IncarnationLine`]: a row of the store's incarnations | dump |
//! | `heads` | [`Head`]: a partition's head | dump |
//! | `events` | [`LogEntry`]: a row of the event table | dump |
//! | `kafka` | [`KafkaLine`]: a record of the topic, by partition and offset from 0 | dump |
//! | `rows` | [`RowLine`]: a row of `user_view` | dump |
//! | `checkpoints` | [`Checkpoint`]: how far the shown view has come in a partition | dump |
//! | `cached` | [`CachedLine`]: a value in Redis | dump |
//!
//! Times are microseconds since the run began, of one process's monotonic clock.

mod folder;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use testkit::pipeline::log::LogEntry;
use testkit::pipeline::view::ViewRow;
use uuid::Uuid;

pub use folder::{Folder, Recorder, RecorderError};

/// What the run was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// Repeats the order of faults and of the clients' choices.
    pub seed: u64,
    /// How many partitions the store has.
    pub partitions: u16,
    /// The texts that belong to one tenant alone, its own name among them, by tenant.
    pub canaries: BTreeMap<String, Vec<String>>,
    /// A topic was there.
    pub has_kafka: bool,
    /// A Redis was there.
    pub has_redis: bool,
    /// The longest that a read without a token may be behind what another was shown, µs.
    pub staleness_us_max: u64,
}

/// What a request wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A command that leaves an event whenever it is done.
    Change,
    /// A command that may find that there is nothing to do.
    Touch,
    /// A user by its id.
    Read,
    /// Users by their ids.
    ReadIds,
    /// Users of a region.
    ReadRegion,
}

impl Kind {
    /// Whether it is a command.
    #[must_use]
    pub fn is_command(self) -> bool {
        matches!(self, Self::Change | Self::Touch)
    }
}

/// What became of a request, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx.
    Ok,
    /// An answer that says that nothing was done, or a connection that was refused.
    Refused,
    /// No answer, or one that says that nobody knows.
    Unknown,
}

/// A request and what its client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked. A session asks one thing after the other.
    pub session: String,
    /// `X-Request-Id`; the events that it caused carry it.
    pub request: String,
    /// When it was sent, µs.
    pub begun: u64,
    /// When the answer had come, µs.
    pub ended: u64,
    /// What was wanted.
    pub kind: Kind,
    /// The command or read, for people.
    pub what: String,
    /// On behalf of which tenant.
    pub tenant: String,
    /// The user that it is about; none for several.
    pub user: Option<Uuid>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// What was sent under the key: method, path and body.
    pub digest: String,
    /// The version that the client demanded.
    pub if_match: Option<i64>,
    /// `Consistency-Token` as it was sent.
    pub sent: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The answer's status.
    pub status: Option<u16>,
    /// The problem's code.
    pub code: Option<String>,
    /// The answer of an earlier request with the same key.
    pub is_replayed: bool,
    /// The version in a command's answer.
    pub version: Option<i64>,
    /// `Consistency-Token` as it was answered: a read's `as_of`.
    pub token: Option<String>,
    /// `Runnel-Stale`: the answer says itself that it is older.
    pub stale: Option<String>,
    /// The body, as text.
    pub body: String,
    /// Asked after the system had come to rest.
    pub is_settled: bool,
}

/// Something that was done to the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it was.
    pub what: String,
    /// When it began, µs.
    pub begun: u64,
    /// When everything was ready again, µs.
    pub ended: u64,
}

/// An event as a tailing reader met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub struct Seen {
    pub partition: i32,
    pub position: i64,
    pub event_id: Uuid,
}

/// A row of the store's incarnations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub struct IncarnationLine {
    pub number: i32,
    pub heads: Vec<i64>,
}

/// A partition's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub struct Head {
    pub partition: i32,
    pub position: i64,
}

/// A record of the topic; one that is not Runnel's has no `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KafkaLine {
    /// The partition of the topic.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The incarnation that it was written in.
    pub incarnation: i32,
    /// The event in it.
    pub event: Option<LogEntry>,
}

/// A row of `user_view`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLine {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub id: String,
    /// The rest.
    #[serde(flatten)]
    pub row: ViewRow,
}

/// How far the shown generation has come in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub struct Checkpoint {
    pub partition: i32,
    pub incarnation: i32,
    pub position: i64,
}

/// A value in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedLine {
    /// Its key.
    pub key: String,
    /// The tenant in its key.
    pub tenant: String,
    /// The user in its key.
    pub id: String,
    /// The position that it claims to be true as of.
    pub as_of: String,
    /// Readers take it: its epoch is the partition's present one.
    pub is_live: bool,
    /// The row in it.
    pub body: Value,
}

/// A whole history.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of the files")]
pub struct History {
    pub scene: Scene,
    pub operations: Vec<Operation>,
    pub faults: Vec<Fault>,
    pub seen: Vec<Seen>,
    pub incarnations: Vec<IncarnationLine>,
    pub heads: Vec<Head>,
    pub events: Vec<LogEntry>,
    pub kafka: Vec<KafkaLine>,
    pub rows: Vec<RowLine>,
    pub checkpoints: Vec<Checkpoint>,
    pub cached: Vec<CachedLine>,
}
