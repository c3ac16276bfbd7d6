//! Fetches the keys and keeps the last good set: an issuer that is down for an hour must not
//! lock everybody out.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::keys::{KeySet, KeySetError};
use crate::breaker::{Breaker, CircuitOpen};
use crate::config::{JwksSource, Mode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest JWKS in bytes.
const SIZE_MAX: usize = 256 << 10;
/// How often a known good set is fetched again.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// How soon a first set is asked for again.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(5);
/// An unknown key id asks for the set once in this time.
const UNKNOWN_ID_EVERY: Duration = Duration::from_secs(30);
/// And all unknown key ids together once in this time: anybody can invent some.
const UNKNOWN_ANY_EVERY: Duration = Duration::from_secs(1);
/// Unknown key ids remembered.
const UNKNOWN_IDS_MAX: usize = 1_000;

/// The keys and where they come from.
#[derive(Debug)]
pub(super) struct Keys {
    source: JwksSource,
    mode: Mode,
    client: reqwest::Client,
    breaker: Breaker,
    current: RwLock<Arc<KeySet>>,
    unknown: Mutex<Unknown>,
}

#[derive(Debug, Default)]
struct Unknown {
    last: Option<Instant>,
    asked: HashMap<String, Instant>,
}

/// Why no set could be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file cannot be read.
    #[error("the JWKS file cannot be read")]
    File(#[source] std::io::Error),
    /// The URL gives nothing.
    #[error("the JWKS URL cannot be fetched")]
    Http(#[source] reqwest::Error),
    /// It is larger than any honest set.
    #[error("the JWKS is larger than 256 KiB")]
    TooLarge,
    /// It cannot be used.
    #[error("the JWKS cannot be used")]
    Unusable(#[source] KeySetError),
    /// Too many attempts failed just now.
    #[error(transparent)]
    CircuitOpen(CircuitOpen),
}

impl Keys {
    pub(super) fn new(source: JwksSource, mode: Mode) -> Result<Keys, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // Fetches are rare and come from the runtimes of several worker threads.
            .pool_max_idle_per_host(0)
            .build()?;
        let breaker = Breaker::new("jwks");
        let (current, unknown) = (RwLock::default(), Mutex::default());
        Ok(Keys {
            source,
            mode,
            client,
            breaker,
            current,
            unknown,
        })
    }

    pub(super) fn current(&self) -> Arc<KeySet> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Fetches the set; on failure the last good one stays. True when the set is another one now:
    /// what was verified with the one before is to be forgotten then, and only then, because
    /// anybody can make us fetch by inventing a key id.
    pub(super) async fn refresh(&self) -> Result<bool, FetchError> {
        let set = self.fetch().await?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = !current.is_same(&set);
        if changed {
            *current = Arc::new(set);
        }
        Ok(changed)
    }

    /// Fetches the set for a key id that is not in it, unless that was tried just now. True when
    /// the set is another one now, by us or by somebody while we waited.
    pub(super) async fn refresh_for(&self, id: &str) -> bool {
        let before = self.current();
        let mut unknown = self.unknown.lock().await;
        if !Arc::ptr_eq(&before, &self.current()) {
            return true;
        }
        if !unknown.may_ask(id, Instant::now()) {
            return false;
        }
        match self.refresh().await {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(error = %crate::telemetry::chain(&error), "JWKS not refreshed");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let json = match &self.source {
            JwksSource::File(path) => tokio::fs::read(path).await.map_err(FetchError::File)?,
            JwksSource::Url(url) => {
                let permit = self.breaker.permit().map_err(FetchError::CircuitOpen)?;
                match self.download(url).await {
                    Ok(json) => {
                        permit.succeeded();
                        json
                    }
                    Err(error) => {
                        permit.failed();
                        return Err(error);
                    }
                }
            }
        };
        if json.len() > SIZE_MAX {
            return Err(FetchError::TooLarge);
        }
        KeySet::parse(&json, self.mode).map_err(FetchError::Unusable)
    }

    async fn download(&self, url: &url::Url) -> Result<Vec<u8>, FetchError> {
        let response = self.client.get(url.clone()).send().await;
        let response = response.and_then(reqwest::Response::error_for_status);
        let mut response = response.map_err(|error| FetchError::Http(error.without_url()))?;
        let mut json = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| FetchError::Http(error.without_url()))?
        {
            if json.len() + chunk.len() > SIZE_MAX {
                return Err(FetchError::TooLarge);
            }
            json.extend_from_slice(&chunk);
        }
        Ok(json)
    }
}

impl Unknown {
    fn may_ask(&mut self, id: &str, now: Instant) -> bool {
        if self.last.is_some_and(|last| now - last < UNKNOWN_ANY_EVERY) {
            return false;
        }
        self.asked
            .retain(|_, asked| now - *asked < UNKNOWN_ID_EVERY);
        if self.asked.contains_key(id) || self.asked.len() >= UNKNOWN_IDS_MAX {
            return false;
        }
        self.asked.insert(id.to_owned(), now);
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fetch_that_brings_the_same_set_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let publish = |id| {
            let jwk = crate::auth::TokenSigner::generate(id).unwrap().jwk();
            std::fs::write(&path, serde_json::json!({ "keys": [jwk] }).to_string()).unwrap();
        };
        publish("a");
        let keys = Keys::new(JwksSource::File(path.clone()), Mode::Development).unwrap();
        assert!(keys.refresh().await.unwrap(), "the first set");
        assert!(!keys.refresh().await.unwrap());
        assert!(!keys.refresh_for("invented").await);
        publish("b");
        assert!(keys.refresh().await.unwrap(), "another set");
    }

    #[test]
    fn an_unknown_key_id_asks_once_in_30_seconds_and_all_of_them_once_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut unknown = Unknown::default();
        assert!(unknown.may_ask("a", at(0)));
        assert!(!unknown.may_ask("b", at(900)));
        assert!(unknown.may_ask("b", at(1_000)));
        assert!(!unknown.may_ask("a", at(29_000)));
        assert!(unknown.may_ask("a", at(30_000)));
    }
}
