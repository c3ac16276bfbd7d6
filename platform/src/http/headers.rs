//! Pure parsers of the request headers that our APIs share. Each refuses what it does not
//! understand instead of ignoring it: a client that asked for a condition must not get none.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};

use super::{HttpCode, Problem};

/// Longest `Idempotency-Key` in characters.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;

/// What `If-Match` demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: the thing exists.
    Any,
    /// `"v7"`, `"v7.3"` or, of a store that forked, `"v7.3.i2"`: its stream is at this version, of
    /// the history that this incarnation of the store had.
    Version {
        /// The version.
        version: i64,
        /// The incarnation; 1 where the tag names none.
        incarnation: i32,
    },
}

/// What the client would rather have (RFC 7240).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// How long to wait for a token's position.
    pub wait: Option<Wait>,
    /// `handling=lenient`: a stale answer, marked, instead of 503.
    pub lenient: bool,
}

/// A wait that the client asked for; the API caps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(
    /// `wait=` in milliseconds.
    pub Duration,
);

/// The `Idempotency-Key`, if there is one.
///
/// # Errors
/// 400 when it is empty, too long, sent twice or not visible ASCII.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let wrong = |detail: &'static str| invalid("Idempotency-Key", detail);
    let Some(text) = single(headers, "idempotency-key").map_err(wrong)? else {
        return Ok(None);
    };
    let visible = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if text.is_empty() || text.len() > IDEMPOTENCY_KEY_MAX || !visible {
        return Err(wrong("must be 1 to 255 visible ASCII characters"));
    }
    Ok(Some(text.to_owned()))
}

/// The `If-Match` condition, if there is one.
///
/// # Errors
/// 400 when it is anything but `*` or a tag of [`version_tag`].
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let wrong = |detail: &'static str| invalid("If-Match", detail);
    let Some(text) = single(headers, "if-match").map_err(wrong)? else {
        return Ok(None);
    };
    if text == "*" {
        return Ok(Some(IfMatch::Any));
    }
    version_of(text)
        .map(Some)
        .ok_or_else(|| wrong("must be * or one ETag as we gave it, such as \"v7\""))
}

/// The strong ETag of a stream's version: `"v7"`, with the generation of the rows that show it
/// `"v7.3"`: a rebuild may show the same version otherwise, also by the same fold. After a fork the
/// same version of a stream can be another event, so from the second incarnation of the store on
/// the tag names it: `"v7.3.i2"`. Equal tags are of one history.
#[must_use]
pub fn version_tag(version: i64, generation: Option<i32>, incarnation: i32) -> String {
    let generation = generation.map(|generation| format!(".{generation}"));
    let incarnation = (incarnation > 1).then(|| format!(".i{incarnation}"));
    let (generation, incarnation) = (
        generation.unwrap_or_default(),
        incarnation.unwrap_or_default(),
    );
    format!("\"v{version}{generation}{incarnation}\"")
}

/// What [`version_tag`] made; the generation does not count.
fn version_of(tag: &str) -> Option<IfMatch> {
    let inner = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    let (inner, incarnation) = match inner.split_once(".i") {
        Some((inner, incarnation)) => (inner, i32::try_from(number(incarnation)?).ok()?),
        None => (inner, 1),
    };
    let version = match inner.split_once('.') {
        Some((version, generation)) => number(generation).and(Some(version))?,
        None => inner,
    };
    Some(IfMatch::Version {
        version: number(version)?,
        incarnation,
    })
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// True when `If-None-Match` names this ETag (weakly compared) or `*`: the answer is 304.
#[must_use]
pub fn if_none_match(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| {
        tag.trim()
            .strip_prefix("W/")
            .unwrap_or(tag.trim())
            .to_owned()
    };
    let ours = strong(etag);
    let values = headers
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || strong(tag) == ours)
}

/// The preferences that we know; others are ignored, as the RFC says.
///
/// # Errors
/// 400 when one that we know has a value that it cannot have.
pub fn prefer(headers: &HeaderMap) -> Result<Prefer, Problem> {
    let wrong = |detail: &'static str| invalid("Prefer", detail);
    let mut preferences = Prefer::default();
    for value in headers.get_all("prefer") {
        let text = value.to_str().map_err(|_| wrong("is not ASCII"))?;
        for preference in text.split([',', ';']) {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "wait" => {
                    let wait = number(value).and_then(|ms| u64::try_from(ms).ok());
                    let wait = wait.ok_or_else(|| wrong("wait= must be whole milliseconds"))?;
                    preferences.wait = Some(Wait(Duration::from_millis(wait)));
                }
                "handling" => match value {
                    "lenient" => preferences.lenient = true,
                    "strict" => preferences.lenient = false,
                    _ => return Err(wrong("handling= must be lenient or strict")),
                },
                _ => {}
            }
        }
    }
    Ok(preferences)
}

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name);
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err("must be sent once only");
    }
    let text = first
        .map(|value| value.to_str().map_err(|_| "is not ASCII"))
        .transpose()?;
    Ok(text.map(str::trim))
}

fn invalid(header: &'static str, detail: &'static str) -> Problem {
    Problem::new(HttpCode::InvalidHeader).field(header, detail)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn an_idempotency_key_has_1_to_255_visible_characters_and_is_sent_once() {
        let read = |pairs: &[(&str, &str)]| idempotency_key(&headers(pairs));
        assert_eq!(read(&[]).unwrap(), None);
        let key = read(&[("idempotency-key", "order-1")]).unwrap();
        assert_eq!(key.as_deref(), Some("order-1"));
        let longest = "k".repeat(255);
        assert_eq!(
            read(&[("idempotency-key", &longest)]).unwrap(),
            Some(longest)
        );
        let too_long = "k".repeat(256);
        for wrong in ["", too_long.as_str(), "schlüssel"] {
            let problem = read(&[("idempotency-key", wrong)]).unwrap_err();
            assert_eq!(
                (problem.status().as_u16(), problem.code()),
                (400, "invalid_header")
            );
        }
        let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
        assert!(read(&twice).is_err());
    }

    #[test]
    fn if_match_compares_the_version_and_ignores_the_generation() {
        let read = |text: &str| if_match(&headers(&[("if-match", text)]));
        for (generation, incarnation) in [(None, 1), (Some(3), 1), (None, 2), (Some(3), 12)] {
            let tag = version_tag(7, generation, incarnation);
            let seven = IfMatch::Version {
                version: 7,
                incarnation,
            };
            assert_eq!(read(&tag).unwrap(), Some(seven), "{tag}");
        }
        assert_eq!(version_tag(7, None, 1), "\"v7\"");
        assert_eq!(version_tag(7, Some(3), 2), "\"v7.3.i2\"");
        assert_eq!(read("*").unwrap(), Some(IfMatch::Any));
        assert_eq!(if_match(&headers(&[])).unwrap(), None);
        let wrong = [
            "",
            "7",
            "v7",
            "\"7\"",
            "\"v\"",
            "\"v7.\"",
            "\"v7.i\"",
            "\"v7.i2.3\"",
            "\"v-7\"",
            "W/\"v7\"",
            "\"v1\", \"v2\"",
        ];
        for wrong in wrong {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly_and_knows_lists_and_the_star() {
        let matches = |text| if_none_match(&headers(&[("if-none-match", text)]), "\"v7.3\"");
        assert!(matches("\"v7.3\"") && matches("W/\"v7.3\"") && matches("\"a\", \"v7.3\""));
        assert!(matches("*") && !matches("\"v7\"") && !matches(""));
    }

    #[test]
    fn preferences_are_a_wait_in_milliseconds_and_leniency() {
        let read = |text| prefer(&headers(&[("prefer", text)]));
        let wait = |ms| Some(Wait(Duration::from_millis(ms)));
        let both = Prefer {
            wait: wait(250),
            lenient: true,
        };
        assert_eq!(read("wait=250, handling=lenient").unwrap(), both);
        assert_eq!(read("Wait = \"10\"; respond-async").unwrap().wait, wait(10));
        assert_eq!(read("return=minimal").unwrap(), Prefer::default());
        for wrong in ["wait", "wait=soon", "wait=-1", "handling=rough"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
