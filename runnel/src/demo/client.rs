//! The two APIs as the demo uses them: over HTTP, like any other client.

use std::time::Duration;

use anyhow::{Context as _, bail};
use platform::auth::{Claims, Role, TokenSigner};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::people::Person;

const TOKEN: &str = "Consistency-Token";
const TIMEOUT: Duration = Duration::from_secs(30);
const LIFETIME: Duration = Duration::from_secs(3600);
const PATIENCE: usize = 5;

/// Speaks for anybody of one tenant.
pub(super) struct Client {
    http: reqwest::Client,
    signer: TokenSigner,
    tenant: String,
    command_url: String,
    query_url: String,
}

impl Client {
    pub(super) fn new(
        signer: TokenSigner,
        tenant: &str,
        command_url: &str,
        query_url: &str,
    ) -> anyhow::Result<Client> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        let url = |text: &str| text.trim_end_matches('/').to_owned();
        let (command_url, query_url) = (url(command_url), url(query_url));
        Ok(Client {
            http,
            signer,
            tenant: tenant.to_owned(),
            command_url,
            query_url,
        })
    }

    /// Registers a person as themselves, and returns the consistency token of the answer.
    pub(super) async fn register(&self, person: &Person) -> anyhow::Result<String> {
        let url = format!("{}/v1/users", self.command_url);
        let body = json!({
            "id": person.id,
            "email": person.email,
            "name": person.name,
            "region": person.region,
            "bio": person.bio,
        });
        let bearer = self.bearer(&person.id.to_string(), Role::User)?;
        let request = || self.http.post(&url).bearer_auth(&bearer).json(&body);
        let answer = send(request).await?;
        if answer.status() != StatusCode::CREATED {
            bail!("registering answered {}", told(answer).await);
        }
        let token = answer
            .headers()
            .get(TOKEN)
            .context("the answer has no Consistency-Token")?;
        Ok(token.to_str()?.to_owned())
    }

    /// Reads a person as themselves, not older than a token.
    pub(super) async fn read(&self, person: &Person, token: &str) -> anyhow::Result<Value> {
        let url = format!("{}/v1/users/{}", self.query_url, person.id);
        let bearer = self.bearer(&person.id.to_string(), Role::User)?;
        self.get(&url, &bearer, Some(token)).await
    }

    /// The users of a region, as an operator sees them.
    pub(super) async fn region(&self, region: &str, limit: usize) -> anyhow::Result<Value> {
        let url = format!("{}/v1/users?region={region}&limit={limit}", self.query_url);
        let bearer = self.bearer("demo-operator", Role::Operator)?;
        self.get(&url, &bearer, None).await
    }

    async fn get(&self, url: &str, bearer: &str, token: Option<&str>) -> anyhow::Result<Value> {
        let request = || {
            let request = self.http.get(url).bearer_auth(bearer);
            match token {
                Some(token) => request.header(TOKEN, token),
                None => request,
            }
        };
        let answer = send(request).await?;
        if !answer.status().is_success() {
            bail!("reading answered {}", told(answer).await);
        }
        Ok(answer.json().await?)
    }

    fn bearer(&self, sub: &str, role: Role) -> anyhow::Result<String> {
        let claims = Claims {
            tenant: self.tenant.clone(),
            sub: sub.to_owned(),
            role,
        };
        Ok(self.signer.sign(&claims, LIFETIME)?)
    }
}

/// Sends; asked to come back later (429, 503), it does, a few times.
async fn send(request: impl Fn() -> RequestBuilder) -> anyhow::Result<Response> {
    let mut attempts = 0;
    loop {
        let answer = request()
            .send()
            .await
            .context("no answer; does `runnel up` run?")?;
        let later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        attempts += 1;
        if !later.contains(&answer.status()) || attempts == PATIENCE {
            return Ok(answer);
        }
        let wait = answer
            .headers()
            .get("Retry-After")
            .and_then(|v| v.to_str().ok()?.parse().ok());
        tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1))).await;
    }
}

/// Status and body, for an error that helps.
async fn told(answer: Response) -> String {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    format!("{status}: {body}")
}
