//! What the servers say about themselves meanwhile: `/metrics` in Prometheus's text form, asked
//! every second.

mod exposition;
mod figures;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::recorder::Phase;
use crate::report::Server;
use exposition::Exposition;

const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Larger answers are no metrics.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Asks until it is stopped.
#[derive(Debug)]
pub(crate) struct Scraper {
    tasks: Vec<JoinHandle<Server>>,
    stop: CancellationToken,
}

/// What one said at a moment of the measured phase.
struct Sample {
    at: Duration,
    said: Exposition,
}

impl Scraper {
    /// Begins with the measured phase and ends with it.
    pub(crate) fn start(urls: Vec<String>, phase: Phase) -> Self {
        let stop = CancellationToken::new();
        let tasks = urls
            .into_iter()
            .map(|url| tokio::spawn(ask(url, phase, stop.clone())));
        Self {
            tasks: tasks.collect(),
            stop,
        }
    }

    /// Everything that was said.
    pub(crate) async fn stop(self) -> Vec<Server> {
        self.stop.cancel();
        let mut servers = Vec::new();
        for task in self.tasks {
            servers.push(task.await.expect("a task that nobody aborts"));
        }
        servers
    }
}

/// Those that cannot be read, and why.
pub(crate) async fn unreadable(urls: &[String]) -> Vec<(String, String)> {
    let http = http();
    let mut unreadable = Vec::new();
    for url in urls {
        if let Err(why) = look(&http, url).await {
            unreadable.push((url.clone(), why));
        }
    }
    unreadable
}

async fn ask(url: String, phase: Phase, stop: CancellationToken) -> Server {
    let (http, mut samples, mut error) = (http(), Vec::new(), None);
    let mut next = phase.begin;
    let end = phase.begin + phase.length;
    // The last look is at the end of the phase itself.
    while next <= end {
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = stop.cancelled() => break,
        }
        let at = Instant::now().saturating_duration_since(phase.begin);
        match look(&http, &url).await {
            Ok(text) => samples.push(Sample {
                at,
                said: Exposition::parse(&text, figures::is_shown),
            }),
            Err(what) => error = Some(what),
        }
        next += ASK_EVERY;
    }
    figures::server(url, &samples, error)
}

fn http() -> Client<HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn look(http: &Client<HttpConnector, Empty<Bytes>>, url: &str) -> Result<String, String> {
    let looking = async {
        let uri = url.parse().map_err(|_| "is not an address".to_owned())?;
        let response = http.get(uri).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("answered {}", response.status()));
        }
        let (mut body, mut bytes) = (response.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(format!("answered more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        String::from_utf8(bytes.into()).map_err(|_| "answered no text".to_owned())
    };
    let within = tokio::time::timeout(ANSWER_WITHIN, looking).await;
    within.unwrap_or_else(|_| Err(format!("did not answer within {ANSWER_WITHIN:?}")))
}
