//! A small HTTP client. It knows three endings of a request: an answer, a connection that was never
//! accepted, and silence after it was.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Longer than every deadline of the services, so that what a client did not hear it will never
/// hear.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// Much shorter than `HTTP_HEAD_TIMEOUT`. The library opens connections ahead; one that was never
/// used is ended by the server after that time, and a request that is sent on it at that moment
/// would be lost.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Sends requests.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The connection was refused: nobody has seen the request.
    NotAccepted,
    /// The connection ended before the answer: the request may have been heard.
    Lost(String),
}

/// A request, as `client.request(…)` builds it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// The bearer token.
    pub bearer: &'a str,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON body.
    pub body: Option<Value>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client with connections of its own.
    ///
    /// # Panics
    /// When the HTTP library cannot be set up.
    #[must_use]
    pub fn new() -> Self {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(IDLE_MAX)
            // No roots: loading them takes long, and nothing here is encrypted.
            .tls_certs_only([])
            .timeout(ANSWERED_WITHIN);
        let http = builder.build().expect("an HTTP client");
        Self { http }
    }

    /// Gets a URL without a token.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn get(&self, url: &str) -> Result<Answer, Unanswered> {
        answer(self.http.get(url)).await
    }

    /// Gets a URL with a token, and maybe more headers.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn read(
        &self,
        url: String,
        bearer: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, Unanswered> {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let request = Request {
            method: Method::GET,
            url,
            bearer,
            headers: headers.collect(),
            body: None,
        };
        self.send(request).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, Unanswered> {
        let mut builder = self
            .http
            .request(request.method, request.url)
            .bearer_auth(request.bearer);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        answer(builder).await
    }
}

async fn answer(builder: reqwest::RequestBuilder) -> Result<Answer, Unanswered> {
    let lost = |error: reqwest::Error| {
        if error.is_connect() {
            Unanswered::NotAccepted
        } else {
            Unanswered::Lost(format!("{error:?}"))
        }
    };
    let response = builder.send().await.map_err(lost)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.map_err(lost)?.to_vec();
    Ok(Answer {
        status,
        headers,
        body,
    })
}

impl Answer {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The consistency token.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.header("consistency-token")
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a problem; empty when it is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The `version` of the body.
    #[must_use]
    pub fn version(&self) -> Option<i64> {
        self.json()["version"].as_i64()
    }

    /// Whether the request is said to have had its effect.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether a 503 tells when to come back.
    #[must_use]
    pub fn is_retry_later(&self) -> bool {
        let seconds = self.header("retry-after").map(str::parse::<u32>);
        self.status == 503 && matches!(seconds, Some(Ok(_)))
    }
}
