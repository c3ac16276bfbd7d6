//! The mark on personal fields. Today they are stored as they are; when erasure arrives their
//! payload form becomes a cipher text under a key per person, and a field whose key was deleted
//! decodes to [`Personal::Erased`]. Whoever reads a personal field must therefore say already now
//! what it does when the value is gone.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A personal value, or the trace of one that was erased. `Debug` never shows the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Personal<T> {
    /// The value.
    Plain(T),
    /// The value was erased and cannot be had again.
    Erased,
}

impl<T> Personal<T> {
    /// The value, unless it was erased.
    pub fn reveal(&self) -> Option<&T> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Erased => None,
        }
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.reveal().is_some() {
            "[personal]"
        } else {
            "[erased]"
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Erased {
    erased: bool,
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::Erased => Erased { erased: true }.serialize(serializer),
        }
    }
}

/// All personal values are texts. (A derived `untagged` would try every one as an erased value
/// first, which is most of the time that a rebuild decodes for.)
impl<'de> Deserialize<'de> for Personal<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrErased)
    }
}

struct TextOrErased;

impl<'de> Visitor<'de> for TextOrErased {
    type Value = Personal<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or the trace of one that was erased")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Personal::Plain(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Personal::Plain(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Erased::deserialize(MapAccessDeserializer::new(map)).map(|_| Personal::Erased)
    }
}

impl<T: JsonSchema> JsonSchema for Personal<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Personal_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("x-personal".to_owned(), true.into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_value_is_stored_as_it_is_and_never_shown_by_debug() {
        let value = Personal::Plain("ada@example.org".to_owned());
        assert_eq!(
            serde_json::to_string(&value).expect("json"),
            r#""ada@example.org""#
        );
        assert_eq!(format!("{value:?}"), "[personal]");
    }

    #[test]
    fn an_erased_value_reads_back_as_erased() {
        let json = serde_json::to_string(&Personal::<String>::Erased).expect("json");
        let back: Personal<String> = serde_json::from_str(&json).expect("personal");
        assert_eq!(back.reveal(), None);
        assert_eq!(format!("{back:?}"), "[erased]");
    }

    #[test]
    fn what_is_neither_a_text_nor_erased_is_no_personal_value() {
        for json in ["1", "null", "[]", "{}", r#"{"erased":true,"more":1}"#] {
            assert!(
                serde_json::from_str::<Personal<String>>(json).is_err(),
                "{json}"
            );
        }
        let escaped: Personal<String> = serde_json::from_str(r#""a\n\u00e4""#).expect("personal");
        assert_eq!(escaped.reveal().map(String::as_str), Some("a\n\u{e4}"));
    }
}
