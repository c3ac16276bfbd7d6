//! A session that sends back what it was last told, and judges every answer: a version that goes
//! back, or is older than an acknowledged write of its own, is a finding (I6, I7).

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::client::Answer;

/// The session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    token: String,
    known: HashMap<Uuid, i64>,
    /// How many rows it was shown.
    pub shown: usize,
    /// What was wrong.
    pub findings: Vec<String>,
}

impl Session {
    /// The token to send; empty before the first answer.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A command of its own was acknowledged.
    pub fn wrote(&mut self, user: Uuid, answer: &Answer) {
        let (Some(token), Some(version)) = (answer.token(), answer.version()) else {
            let text = answer.text();
            self.findings
                .push(format!("an answer without token or version: {text}"));
            return;
        };
        let joint = if self.token.is_empty() { "" } else { "_" };
        self.token = format!("{}{joint}{token}", self.token);
        let known = self.known.entry(user).or_default();
        *known = version.max(*known);
    }

    /// It was shown users: one, or the items of a batch.
    pub fn read(&mut self, answer: &Answer) {
        let body = answer.json();
        match body["items"].as_array() {
            Some(items) => items.iter().for_each(|item| self.saw(item)),
            None => self.saw(&body),
        }
        match answer.token() {
            Some(token) => token.clone_into(&mut self.token),
            None => self.findings.push("an answer without a token".to_owned()),
        }
    }

    fn saw(&mut self, row: &Value) {
        let user = row["id"]
            .as_str()
            .and_then(|text| text.parse::<Uuid>().ok());
        let (Some(user), Some(version)) = (user, row["version"].as_i64()) else {
            self.findings.push(format!("no user: {row}"));
            return;
        };
        self.shown += 1;
        let known = self.known.entry(user).or_default();
        if version < *known {
            let token = &self.token;
            let known = *known;
            self.findings.push(format!(
                "{user} went back from version {known} to {version}, with token {token}"
            ));
        } else {
            *known = version;
        }
    }
}
