//! One request: sent, answered or not, and written down as what its client knows.

use chaos::history::{Kind, Operation, Outcome, Recorder};
use reqwest::Method;
use serde_json::Value;
use testkit::pipeline::client::Request;
use testkit::pipeline::{Answer, Client, Unanswered};
use uuid::Uuid;

/// What is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) kind: Kind,
    pub(super) what: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) user: Option<Uuid>,
    pub(super) key: Option<String>,
    pub(super) if_match: Option<i64>,
    pub(super) sent: Option<String>,
}

impl Ask {
    fn digest(&self) -> String {
        let text = format!(
            "{} {} {:?} {:?}",
            self.method, self.path, self.body, self.if_match
        );
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) session: String,
    pub(super) tenant: String,
    pub(super) bearer: String,
    pub(super) client: Client,
    pub(super) recorder: Recorder,
    pub(super) is_settled: bool,
}

impl Asker {
    /// Sends it to a node, writes down what became of it, and gives that.
    pub(super) async fn ask(&self, node: &str, ask: &Ask) -> Operation {
        let request = Uuid::new_v4().to_string();
        let mut headers = vec![("x-request-id", request.clone())];
        headers.extend(ask.key.clone().map(|key| ("idempotency-key", key)));
        headers.extend(
            ask.if_match
                .map(|version| ("if-match", format!("\"v{version}\""))),
        );
        headers.extend(ask.sent.clone().map(|token| ("consistency-token", token)));
        let begun = self.recorder.now();
        let answer = self.client.send(Request {
            method: ask.method.clone(),
            url: format!("{node}{}", ask.path),
            bearer: &self.bearer,
            headers,
            body: ask.body.clone(),
        });
        let answer = answer.await;
        let operation = self.operation(ask, request, begun, answer);
        self.recorder.operation(&operation);
        operation
    }

    fn operation(
        &self,
        ask: &Ask,
        request: String,
        begun: u64,
        answer: Result<Answer, Unanswered>,
    ) -> Operation {
        let outcome = outcome(&answer);
        let answer = answer.ok();
        let header = |name| {
            let answer = answer.as_ref()?;
            answer.header(name).map(str::to_owned)
        };
        let code = answer.as_ref().map(Answer::code);
        Operation {
            session: self.session.clone(),
            request,
            begun,
            ended: self.recorder.now(),
            kind: ask.kind,
            what: ask.what.to_owned(),
            tenant: self.tenant.clone(),
            user: ask.user,
            key: ask.key.clone(),
            digest: ask.digest(),
            if_match: ask.if_match,
            sent: ask.sent.clone(),
            outcome,
            status: answer.as_ref().map(|answer| answer.status),
            code: code.filter(|code| !code.is_empty()),
            is_replayed: header("idempotency-replayed").as_deref() == Some("true"),
            version: answer
                .as_ref()
                .and_then(Answer::version)
                .filter(|_| ask.kind.is_command()),
            token: header("consistency-token"),
            stale: header("runnel-stale"),
            body: answer.as_ref().map(Answer::text).unwrap_or_default(),
            is_settled: self.is_settled,
        }
    }
}

fn outcome(answer: &Result<Answer, Unanswered>) -> Outcome {
    match answer {
        Err(Unanswered::NotAccepted) => Outcome::Refused,
        Err(Unanswered::Lost(_)) => Outcome::Unknown,
        Ok(answer) if answer.is_success() => Outcome::Ok,
        Ok(answer) if answer.code() == "outcome_unknown" => Outcome::Unknown,
        Ok(_) => Outcome::Refused,
    }
}
