//! Commands as clients send them, each with a request id of its own, and the sender who writes
//! every answer down.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Answer, Client, Request, Unanswered};
use super::ledger::{Ledger, Line, Outcome};

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
