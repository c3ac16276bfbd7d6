//! Every answer that was shown, and whether what it showed is in the log.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::pipeline::{Answer, EventLog};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::reader::Reader;

/// Reads over and over until it is ended.
pub(super) struct Watch {
    shown: Arc<Mutex<Vec<Shown>>>,
    /// What the watch sends along.
    token: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

/// An answer, and when it was asked for.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) asked: Instant,
    pub(super) token: Option<String>,
    pub(super) path: String,
    pub(super) answer: Answer,
}

impl Watch {
    /// Reads each user by its id, in batches and in lists.
    pub(super) fn start(reader: &Reader, users: &[Uuid]) -> Self {
        let shown: Arc<Mutex<Vec<Shown>>> = Arc::default();
        let token: Arc<Mutex<Option<String>>> = Arc::default();
        let mut paths: Vec<_> = users.iter().map(|user| format!("/{user}")).collect();
        let ids: Vec<_> = users.iter().map(Uuid::to_string).collect();
        paths.push(format!("?ids={}", ids.join(",")));
        paths.push("?limit=1000".to_owned());
        paths.push("?region=eu-west&limit=1000".to_owned());
        let (reader, kept, sent) = (reader.clone(), shown.clone(), token.clone());
        let task = tokio::spawn(async move {
            for path in paths.iter().cycle() {
                let (asked, token) = (Instant::now(), sent.lock().expect("whole").clone());
                let answer = reader.read(path, token.as_deref()).await;
                let path = path.clone();
                kept.lock().expect("whole").push(Shown {
                    asked,
                    token,
                    path,
                    answer,
                });
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { shown, token, task }
    }

    pub(super) fn send_along(&self, token: &str) {
        *self.token.lock().expect("whole") = Some(token.to_owned());
    }

    pub(super) fn end(self) -> Vec<Shown> {
        self.task.abort();
        self.shown.lock().expect("whole").clone()
    }
}

/// Every user and every name that the log holds; no two events have one name, but `Ada`.
pub(super) struct Names(BTreeSet<String>);

impl Names {
    pub(super) fn of(log: &EventLog) -> Self {
        let names = log.entries.iter().flat_map(|entry| {
            let name = entry.payload["name"].as_str().map(str::to_owned);
            name.into_iter().chain([entry.aggregate_id.clone()])
        });
        Self(names.collect())
    }

    /// The answers that showed something that the log does not have.
    pub(super) fn phantoms<'s>(&self, shown: impl Iterator<Item = &'s Shown>) -> Vec<String> {
        let phantoms = shown.filter(|one| !self.have_all_of(&one.answer.json()));
        phantoms
            .map(|one| format!("{} {:?}: {}", one.path, one.token, one.answer.text()))
            .collect()
    }

    /// Whether a user is of the log, by its id and its name.
    pub(super) fn have(&self, user: &Value) -> bool {
        let (id, name) = (user["id"].as_str(), user["name"].as_str());
        let mut texts = id.into_iter().chain(name);
        texts.all(|text| self.0.contains(text))
    }

    /// Whether all users of an answer are.
    fn have_all_of(&self, body: &Value) -> bool {
        match body["items"].as_array() {
            Some(items) => items.iter().all(|user| self.have(user)),
            None => body.get("code").is_some() || self.have(body),
        }
    }
}
