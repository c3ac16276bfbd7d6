//! What can be wrong with an answer, and the parts of judgements that several operations share.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::Answer;

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request failed: counted as an error.
    Error {
        /// The kind, such as `503 queue_full`.
        kind: String,
        /// The first words about it.
        example: String,
    },
    /// A correct server never answers this, whatever the load: counted apart, and fails the run.
    Violation {
        /// Which promise was broken.
        rule: &'static str,
        /// How.
        example: String,
    },
}

/// The account as a read shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) version: u64,
    #[serde(default)]
    pub(super) bio: Option<String>,
    /// For those who may see it.
    #[serde(default)]
    pub(super) email: Option<String>,
}

/// The answer of a command.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    pub(super) id: String,
    pub(super) version: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

/// One of these statuses, or an error named by status and code.
pub(super) fn expect(answer: &Answer, statuses: &[u16]) -> Result<(), Fault> {
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
    Err(Fault::Error {
        kind: format!("{} {}", answer.status, problem.code)
            .trim_end()
            .to_owned(),
        example: format!("{} ({})", problem.detail, request_id(answer)),
    })
}

/// The body as JSON of this form; anything else is a violation, because the status promised it.
pub(super) fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, Fault> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        violation(
            "unreadable_body",
            answer,
            format!("status {}: {error}", answer.status),
        )
    })
}

/// The account that was asked for; another one is a violation.
pub(super) fn account_of(id: &str, answer: &Answer) -> Result<Account, Fault> {
    let account: Account = parsed(answer)?;
    if account.id == id {
        return Ok(account);
    }
    let what = format!("asked for {id} and got {}", account.id);
    Err(violation("another_account", answer, what))
}

/// What a command did, and to whom it was meant. Its version and its token are what later answers
/// are judged by, so neither may be missing.
pub(super) fn done_to(id: &str, answer: &Answer) -> Result<Done, Fault> {
    let done: Done = parsed(answer)?;
    if done.id != id {
        let what = format!("was meant for {id} and was done to {}", done.id);
        return Err(violation("another_account", answer, what));
    }
    has_token(answer)?;
    Ok(done)
}

/// Every good answer says what it is true as of.
pub(super) fn has_token(answer: &Answer) -> Result<(), Fault> {
    match answer.token {
        Some(_) => Ok(()),
        None => {
            let what = format!("status {} without a Consistency-Token", answer.status);
            Err(violation("no_token", answer, what))
        }
    }
}

/// A broken promise.
pub(super) fn violation(rule: &'static str, answer: &Answer, what: String) -> Fault {
    Fault::Violation {
        rule,
        example: format!("{what} ({})", request_id(answer)),
    }
}

fn request_id(answer: &Answer) -> String {
    let id = answer.request_id.as_deref();
    format!("request {}", id.unwrap_or("without an id"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer as a server would give it.
    pub(in super::super) fn answer(status: u16, token: &str, body: &serde_json::Value) -> Answer {
        Answer {
            status,
            etag: Some("\"v1.1\"".to_owned()),
            token: Some(token.to_owned()),
            request_id: Some("r-1".to_owned()),
            body: body.to_string().into(),
        }
    }

    #[test]
    fn an_error_has_the_status_and_the_code_of_its_problem() {
        let problem = serde_json::json!({ "code": "queue_full", "detail": "try again" });
        let fault = expect(&answer(503, "", &problem), &[200]).unwrap_err();
        let expected = Fault::Error {
            kind: "503 queue_full".to_owned(),
            example: "try again (request r-1)".to_owned(),
        };
        assert_eq!(fault, expected);
    }
}
