//! One who reads users from a node as the tenant's operator.

use std::time::Duration;

use testkit::eventually;
use testkit::pipeline::{Answer, Client, Node, Pipeline, Who};

use crate::scene::{TENANT, ask};

/// A query process looks at the incarnations every second; the rest is for a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Reader {
    client: Client,
    bearer: String,
    node: String,
}

impl Reader {
    pub(crate) fn of(pipeline: &Pipeline, node: &Node) -> Self {
        Self {
            client: Client::new(),
            bearer: pipeline.tokens().sign(TENANT, Who::Operator),
            node: node.url(),
        }
    }

    /// `path` is what follows `/v1/users`.
    pub(crate) async fn read(&self, path: &str, token: Option<&str>) -> Answer {
        let headers = token.map(|token| ("consistency-token", token));
        self.read_with(path, headers.as_slice()).await
    }

    pub(crate) async fn read_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Answer {
        let url = format!("{}/v1/users{path}", self.node);
        ask(&self.client, url, &self.bearer, headers).await
    }

    /// Asks until the answer has this status and code, which it must have soon.
    pub(crate) async fn answers(
        &self,
        path: &str,
        token: Option<&str>,
        (status, code): (u16, &str),
    ) -> Answer {
        eventually(NOTICED_WITHIN, || async {
            let answer = self.read(path, token).await;
            let is_it = answer.status == status && answer.code() == code;
            is_it
                .then_some(answer.clone())
                .ok_or((answer.status, answer.text()))
        })
        .await
    }
}
