//! What a field of a JSON body can be read as.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is of another JSON type: 400.
    WrongType,
    /// It is of the right JSON type and breaks a rule: 422, with what is allowed.
    Rule(String),
}

/// A type that a field can be read as.
pub trait FieldValue: Sized {
    /// What the client should have sent, such as `a string`.
    const EXPECTED: &'static str;

    /// Reads the value, which is not null.
    ///
    /// # Errors
    /// When the value is of another type or breaks a rule.
    fn from_json(value: Value) -> Result<Self, Fault>;
}

impl FieldValue for String {
    const EXPECTED: &'static str = "a string";

    fn from_json(value: Value) -> Result<String, Fault> {
        match value {
            // PostgreSQL's text cannot hold it, and no name or e-mail address has one.
            Value::String(text) if text.contains('\0') => Err(Fault::Rule(
                "must not contain the character NUL (\\u0000)".to_owned(),
            )),
            Value::String(text) => Ok(text),
            _ => Err(Fault::WrongType),
        }
    }
}

impl FieldValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_json(value: Value) -> Result<bool, Fault> {
        value.as_bool().ok_or(Fault::WrongType)
    }
}

impl FieldValue for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_json(value: Value) -> Result<i64, Fault> {
        value.as_i64().ok_or(Fault::WrongType)
    }
}

impl FieldValue for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";

    fn from_json(value: Value) -> Result<u64, Fault> {
        match value.as_u64() {
            Some(number) => Ok(number),
            None if value.is_i64() => Err(Fault::Rule("must not be negative".to_owned())),
            None => Err(Fault::WrongType),
        }
    }
}

impl FieldValue for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_json(value: Value) -> Result<f64, Fault> {
        value.as_f64().ok_or(Fault::WrongType)
    }
}

impl FieldValue for Uuid {
    const EXPECTED: &'static str = "a UUID as a string";

    fn from_json(value: Value) -> Result<Uuid, Fault> {
        let text = value.as_str().ok_or(Fault::WrongType)?;
        // Only the usual form: one id must not have several spellings.
        let uuid = (text.len() == 36)
            .then(|| Uuid::try_parse(text).ok())
            .flatten();
        uuid.ok_or_else(|| Fault::Rule("must be a UUID of 36 characters".to_owned()))
    }
}

impl FieldValue for DateTime<Utc> {
    const EXPECTED: &'static str = "an RFC 3339 time as a string";

    fn from_json(value: Value) -> Result<DateTime<Utc>, Fault> {
        let text = value.as_str().ok_or(Fault::WrongType)?;
        let time = DateTime::parse_from_rfc3339(text);
        time.map(|time| time.with_timezone(&Utc)).map_err(|_| {
            Fault::Rule("must be an RFC 3339 time, such as 2026-01-31T12:00:00Z".to_owned())
        })
    }
}

impl<T: FieldValue> FieldValue for Vec<T> {
    const EXPECTED: &'static str = "a list";

    fn from_json(value: Value) -> Result<Vec<T>, Fault> {
        let Value::Array(items) = value else {
            return Err(Fault::WrongType);
        };
        items.into_iter().map(T::from_json).collect()
    }
}

/// Any JSON object; its strings hold no NUL.
impl FieldValue for serde_json::Map<String, Value> {
    const EXPECTED: &'static str = "an object";

    fn from_json(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Object(map) if map.iter().any(|(k, v)| k.contains('\0') || has_nul(v)) => Err(
                Fault::Rule("must not contain the character NUL (\\u0000)".to_owned()),
            ),
            Value::Object(map) => Ok(map),
            _ => Err(Fault::WrongType),
        }
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
