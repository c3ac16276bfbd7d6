//! What clients were told, checked against what stands in the log (I1, I2): done = exactly this
//! event, refused = none, unknown = none or one. Each request has an id of its own, which the event
//! that it caused carries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Answer, Client, Request, Unanswered};
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

/// A command to be sent.
#[derive(Clone, Debug)]
pub struct Command {
    method: Method,
    path: String,
    body: Option<Value>,
    user: Uuid,
    key: Option<String>,
    if_match: Option<i64>,
}

impl Command {
    /// RegisterUser; the other fields follow from the name.
    #[must_use]
    pub fn register(user: Uuid, email: &str, name: &str) -> Self {
        let body = json!({ "id": user, "email": email, "name": name, "region": "eu-west" });
        Self::register_as(user, body)
    }

    /// RegisterUser with this body.
    #[must_use]
    pub fn register_as(user: Uuid, body: Value) -> Self {
        Self::new(Method::POST, "/v1/users".to_owned(), user, Some(body))
    }

    /// UpdateProfile of the name alone.
    #[must_use]
    pub fn rename(user: Uuid, name: &str) -> Self {
        Self::update(user, json!({ "name": name }))
    }

    /// UpdateProfile.
    #[must_use]
    pub fn update(user: Uuid, body: Value) -> Self {
        Self::new(Method::PATCH, format!("/v1/users/{user}"), user, Some(body))
    }

    /// ChangeEmail.
    #[must_use]
    pub fn change_email(user: Uuid, email: &str) -> Self {
        let body = json!({ "email": email });
        Self::new(
            Method::PUT,
            format!("/v1/users/{user}/email"),
            user,
            Some(body),
        )
    }

    /// One of `deactivate`, `reactivate`, `activity`.
    #[must_use]
    pub fn post(user: Uuid, what: &str) -> Self {
        Self::new(Method::POST, format!("/v1/users/{user}/{what}"), user, None)
    }

    /// The same with an idempotency key.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }

    /// The same on condition that the user is at this version.
    #[must_use]
    pub fn if_match(self, version: i64) -> Self {
        Self {
            if_match: Some(version),
            ..self
        }
    }

    fn new(method: Method, path: String, user: Uuid, body: Option<Value>) -> Self {
        Self {
            method,
            path,
            body,
            user,
            key: None,
            if_match: None,
        }
    }
}

/// Everything that the clients of a test were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Vec<Line>>>);

/// Sends commands of one tenant as one principal and writes down what it was told.
#[derive(Clone, Debug)]
pub struct Writer {
    client: Client,
    bearer: String,
    tenant: String,
    ledger: Ledger,
}

impl Writer {
    /// A writer for the tenant of the token.
    #[must_use]
    pub fn new(tenant: &str, bearer: String, ledger: &Ledger) -> Self {
        Self {
            client: Client::new(),
            bearer,
            tenant: tenant.to_owned(),
            ledger: ledger.clone(),
        }
    }

    /// Sends the command to a node.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn send(&self, node: &str, command: Command) -> Result<Answer, Unanswered> {
        let request_id = Uuid::new_v4().to_string();
        let mut headers = vec![("x-request-id", request_id.clone())];
        headers.extend(command.key.map(|key| ("idempotency-key", key)));
        headers.extend(
            command
                .if_match
                .map(|version| ("if-match", format!("\"v{version}\""))),
        );
        let request = Request {
            method: command.method,
            url: format!("{node}{}", command.path),
            bearer: &self.bearer,
            headers,
            body: command.body,
        };
        let sent = Instant::now();
        let answer = self.client.send(request).await;
        self.ledger.write(Line {
            request_id,
            tenant: self.tenant.clone(),
            user: command.user,
            if_match: command.if_match,
            sent,
            answered: Instant::now(),
            outcome: outcome(&answer),
        });
        answer
    }
}

fn outcome(answer: &Result<Answer, Unanswered>) -> Outcome {
    match answer {
        Err(Unanswered::NotAccepted) => Outcome::NotAccepted,
        Err(Unanswered::Lost(_)) => Outcome::Unknown,
        Ok(answer) if answer.is_success() => Outcome::Done {
            version: answer.version().unwrap_or_default(),
            token: answer.token().unwrap_or_default().to_owned(),
            replayed: answer.header("idempotency-replayed") == Some("true"),
        },
        Ok(answer) if answer.code() == "outcome_unknown" => Outcome::Unknown,
        Ok(answer) => Outcome::Refused(answer.status, answer.code()),
    }
}

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
