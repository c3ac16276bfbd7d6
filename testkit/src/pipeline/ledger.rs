//! What clients were told, checked against what stands in the log (I1, I2): done = exactly this
//! event, refused = none, unknown = none or one. Each request has an id of its own, which the event
//! that it caused carries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use super::log::{EventLog, LogEntry};

/// What became of a command, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx: the version and the token that it was given.
    Done {
        /// The user's version after it.
        version: i64,
        /// Up to where reads must have come.
        token: String,
        /// The answer to an earlier request with the same key.
        replayed: bool,
    },
    /// Any other answer that says that nothing was done.
    Refused(u16, String),
    /// No answer, or 503 `outcome_unknown`.
    Unknown,
    /// The connection was refused.
    NotAccepted,
}

/// One request and its outcome.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Line {
    pub request_id: String,
    pub tenant: String,
    pub user: Uuid,
    /// The version that the client demanded.
    pub if_match: Option<i64>,
    pub sent: Instant,
    pub answered: Instant,
    pub outcome: Outcome,
}

/// Everything that the clients of a test were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Vec<Line>>>);

impl Ledger {
    /// Writes a line.
    pub fn write(&self, line: Line) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many commands were done.
    #[must_use]
    pub fn done(&self) -> usize {
        let is_done = |line: &&Line| matches!(line.outcome, Outcome::Done { .. });
        self.lines().iter().filter(is_done).count()
    }

    /// Every answer that the log does not bear out. The log's events must all be of this ledger's
    /// requests, and every command of it must be one that changes something when it is done.
    ///
    /// # Panics
    /// When there are any.
    #[track_caller]
    pub fn assert_true_of(&self, log: &EventLog) {
        let findings = findings(&self.lines(), log);
        assert!(
            findings.is_empty(),
            "the clients and the log: {findings:#?}"
        );
    }
}

/// Where lines and log contradict each other; see [`Ledger::assert_true_of`].
#[must_use]
pub fn findings(lines: &[Line], log: &EventLog) -> Vec<String> {
    let mut caused: BTreeMap<&str, Vec<&LogEntry>> = BTreeMap::new();
    for entry in &log.entries {
        let request = entry.request_id().unwrap_or_default();
        caused.entry(request).or_default().push(entry);
    }
    let at: BTreeMap<_, _> = log
        .entries
        .iter()
        .map(|e| ((e.partition, e.position), e))
        .collect();
    let mut findings = vec![];
    for line in lines {
        let own = caused.remove(line.request_id.as_str()).unwrap_or_default();
        let wrong = |what: &str| format!("request {} {:?}: {what}", line.request_id, line.outcome);
        if own.len() > 1 {
            findings.push(wrong("has more than one event"));
        }
        match &line.outcome {
            Outcome::Done {
                version,
                token,
                replayed,
            } => {
                let entry = address(token).and_then(|address| at.get(&address));
                match entry {
                    Some(entry) if is_effect(entry, line, *version) => {}
                    _ => findings.push(wrong("its address holds no such event")),
                }
                if *replayed != own.is_empty() {
                    findings.push(wrong(
                        "a repeated answer has no event of its own, a first one has",
                    ));
                }
                if line
                    .if_match
                    .is_some_and(|expected| *version != expected + 1)
                {
                    findings.push(wrong("its version is not the next after the demanded one"));
                }
            }
            Outcome::Refused(..) | Outcome::NotAccepted if !own.is_empty() => {
                findings.push(wrong("left an event"));
            }
            Outcome::Refused(..) | Outcome::NotAccepted | Outcome::Unknown => {}
        }
    }
    let strangers = caused
        .keys()
        .map(|request| format!("request {request:?} is nobody's"));
    findings.extend(strangers);
    findings.extend(inversions(lines));
    findings
}

fn is_effect(entry: &LogEntry, line: &Line, version: i64) -> bool {
    entry.tenant == line.tenant
        && entry.aggregate_id == line.user.to_string()
        && entry.sequence == version
}

/// What was sent after another answer came has the higher position, when both are in one partition.
fn inversions(lines: &[Line]) -> Vec<String> {
    let mut by_partition: BTreeMap<i32, Vec<(&Line, i64)>> = BTreeMap::new();
    for line in lines {
        if let Outcome::Done {
            token,
            replayed: false,
            ..
        } = &line.outcome
            && let Some((partition, position)) = address(token)
        {
            by_partition
                .entry(partition)
                .or_default()
                .push((line, position));
        }
    }
    let mut findings = vec![];
    for (partition, mut by_sending) in by_partition {
        let mut by_answer = by_sending.clone();
        by_sending.sort_by_key(|(line, _)| line.sent);
        by_answer.sort_by_key(|(line, _)| line.answered);
        let (mut answered, mut highest) = (by_answer.into_iter().peekable(), 0);
        for (line, position) in by_sending {
            while let Some((_, known)) = answered.next_if(|(other, _)| other.answered < line.sent) {
                highest = highest.max(known);
            }
            if position <= highest {
                findings.push(format!(
                    "{partition}:{position} was begun after {highest} was known"
                ));
            }
        }
    }
    findings
}

/// The partition and position of a token with one entry.
#[must_use]
pub fn address(token: &str) -> Option<(i32, i64)> {
    let mut numbers = token.split('.').skip(1);
    let (partition, position) = (numbers.next()?, numbers.next()?);
    Some((partition.parse().ok()?, position.parse().ok()?))
}
