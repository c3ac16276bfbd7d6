//! Reads JSON more strictly than serde_json's `Value`: a key that stands twice is refused, since
//! two readers could take different ones (serde_json takes the last, others the first).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{HttpCode, Problem};

/// Parses a JSON text.
///
/// # Errors
/// 400 `invalid_json` when it is not UTF-8 or not JSON, has a lone surrogate (`"\ud800"`), or has
/// a key twice in one object. The detail says where.
pub fn parse_json(body: &[u8]) -> Result<Value, Problem> {
    let invalid = || Problem::new(HttpCode::InvalidJson);
    let text = std::str::from_utf8(body).map_err(|error| {
        invalid().detail(format!("not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(invalid().detail("the body is empty; a JSON object is expected"));
    }
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(invalid().detail(error.to_string())),
    }
}

/// A `Value` without keys that stand twice.
struct Strict(Value);

struct StrictVisitor;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice in one object"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_json_is_read_as_serde_json_reads_it() {
        let text = br#"{"a":[1,-2,3.5,true,null,"\u00e9\ud83d\ude00"],"b":{}}"#;
        let expected: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(parse_json(text).unwrap(), expected);
    }

    #[test]
    fn what_is_not_plain_json_is_refused_with_the_place() {
        #[track_caller]
        fn check(body: &[u8], expected: &str) {
            let problem = parse_json(body).unwrap_err();
            assert_eq!(
                (problem.status().as_u16(), problem.code()),
                (400, "invalid_json")
            );
            let body = problem.body(None);
            assert!(body.contains(expected), "{body}");
        }
        check(b"", "empty");
        check(b"{\"a\":}", "line 1 column 6");
        check(b"{\"a\":1} x", "trailing characters");
        check(b"{\"a\":\"\xff\"}", "not UTF-8 from byte 6 on");
        check(br#"{"a":"\ud800"}"#, "column");
        check(br#"{"a":"\udc00"}"#, "surrogate");
        check(br#"{"a":{"b":1,"b":2}}"#, "twice");
        check(b"NaN", "expected value");
        check("[".repeat(1000).as_bytes(), "recursion limit");
    }
}
