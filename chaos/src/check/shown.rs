//! The users that an answer shows.

use serde_json::Value;
use testkit::pipeline::view::ViewRow;
use uuid::Uuid;

use crate::history::{Kind, Operation, Outcome};

/// The fields that answers share with rows, as texts or null.
const TEXTS: [&str; 5] = ["email", "name", "region", "bio", "display_name"];

/// A user in an answer.
pub(super) struct Shown {
    pub(super) user: Uuid,
    pub(super) version: i64,
    item: Value,
}

impl Shown {
    /// The users in a read's good answer.
    pub(super) fn in_answer(operation: &Operation) -> Vec<Self> {
        if operation.kind.is_command() || operation.outcome != Outcome::Ok {
            return vec![];
        }
        let body: Value = serde_json::from_str(&operation.body).unwrap_or_default();
        let items = match (&body["items"], operation.kind) {
            (_, Kind::Read) => vec![body],
            (Value::Array(items), _) => items.clone(),
            _ => vec![],
        };
        items.into_iter().filter_map(Self::of).collect()
    }

    /// One that was asked for and is missing has no version.
    fn of(item: Value) -> Option<Self> {
        let user = item["id"].as_str()?.parse().ok()?;
        let version = item["version"].as_i64()?;
        Some(Self {
            user,
            version,
            item,
        })
    }

    /// Where the item differs from the state; it may show less.
    pub(super) fn difference(&self, state: &ViewRow) -> Option<String> {
        let state = serde_json::to_value(state).expect("a row is JSON");
        let differs = |field: &&&str| {
            let shown = self.item.get(**field);
            shown.is_some_and(|shown| shown != &state[**field])
        };
        let field = TEXTS.iter().find(differs)?;
        Some(format!(
            "{field} is {}, at that version it was {}",
            self.item[*field], state[*field]
        ))
    }
}
