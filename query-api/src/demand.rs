//! How fresh an answer must be: the request's `Consistency-Token` and `Prefer` headers.

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use events::{ConsistencyToken, Partition, TokenEntry};
use platform::http::{HttpCode, Prefer, Problem, prefer};

use crate::config::QuerySettings;

/// The header that carries tokens, both ways.
pub(crate) const CONSISTENCY_TOKEN: &str = "consistency-token";

/// What the client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The answer must show at least this.
    pub(crate) token: Option<ConsistencyToken>,
    /// How long to wait for it.
    pub(crate) wait: Duration,
    /// A stale answer, marked, is better than none.
    pub(crate) lenient: bool,
}

impl Demand {
    /// Reads the headers.
    ///
    /// # Errors
    /// 400 for a header that is not understood.
    pub(crate) fn read(headers: &HeaderMap, settings: &QuerySettings) -> Result<Self, Problem> {
        let Prefer { wait, lenient } = prefer(headers)?;
        let wait = wait.map_or(settings.token_wait, |wait| {
            wait.0.min(settings.token_wait_max)
        });
        Ok(Self {
            token: token(headers)?,
            wait,
            lenient,
        })
    }

    /// The position that the partition must have reached; 0 when any will do.
    #[must_use]
    pub(crate) fn needed(&self, partition: Partition) -> i64 {
        let entries = self.token.iter().flat_map(|token| token.entries());
        let here = entries.filter(|entry| entry.address.partition == partition);
        here.map(|entry| entry.address.position).max().unwrap_or(0)
    }

    /// The positions that every partition of the token must have reached.
    #[must_use]
    pub(crate) fn needed_everywhere(&self) -> Vec<(Partition, i64)> {
        let entries = self.token.iter().flat_map(|token| token.entries());
        entries
            .map(|entry| (entry.address.partition, entry.address.position))
            .collect()
    }

    /// The token of the answer: what it is true as of, and of the other partitions what the client
    /// had shown it knows, so that a session which sends back its last token never goes back.
    #[must_use]
    pub(crate) fn answer_token(&self, as_of: &[TokenEntry]) -> Option<ConsistencyToken> {
        let token = self.token.as_ref()?;
        let elsewhere = |entry: &&TokenEntry| {
            as_of
                .iter()
                .all(|own| own.address.partition != entry.address.partition)
        };
        let mut entries: Vec<_> = token.entries().iter().filter(elsewhere).copied().collect();
        if entries.is_empty() {
            return None;
        }
        entries.extend_from_slice(as_of);
        entries.sort_unstable_by_key(|entry| (entry.address.partition, entry.address.position));
        // A client may name a partition twice; the later position is the one that counts.
        entries.reverse();
        entries.dedup_by_key(|entry| entry.address.partition);
        entries.reverse();
        Some(ConsistencyToken::new(entries))
    }
}

fn token(headers: &HeaderMap) -> Result<Option<ConsistencyToken>, Problem> {
    let wrong =
        |detail: &str| Problem::new(HttpCode::InvalidHeader).field("Consistency-Token", detail);
    let mut values = headers.get_all(CONSISTENCY_TOKEN);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(wrong(
            "must be sent once only; several tokens are joined by _",
        ));
    }
    let text = value.to_str().unwrap_or_default().trim();
    // A client that had no token yet may send the header empty.
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error: events::token::TokenError| wrong(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(token: &str) -> Demand {
        Demand {
            token: Some(token.parse().expect("a token")),
            ..Demand::default()
        }
    }

    #[test]
    fn the_answer_keeps_what_the_client_knows_of_other_partitions() {
        let own: ConsistencyToken = "1.3.9".parse().expect("a token");
        let answer = |text: &str| {
            demand(text)
                .answer_token(own.entries())
                .map(|t| t.to_string())
        };
        assert_eq!(answer("1.5.2_1.0.7").as_deref(), Some("1.0.7_1.3.9_1.5.2"));
        assert_eq!(answer("1.3.4"), None, "nothing to add");
        assert_eq!(answer("1.0.7_1.0.9").as_deref(), Some("1.0.9_1.3.9"));
    }

    #[test]
    fn a_partition_must_have_reached_the_highest_position_that_the_token_names() {
        let demand = demand("1.3.4_2.3.9_1.0.7");
        assert_eq!(demand.needed(Partition(3)), 9);
        assert_eq!(demand.needed(Partition(1)), 0);
    }
}
