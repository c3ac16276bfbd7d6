//! Reads twenty accounts by their ids, one of which nobody has: the answer keeps the order and
//! names the missing one.

use rand::Rng as _;
use serde::Deserialize;

use super::verdict::{Account, expect, parsed, violation};
use super::{Begun, Effect, Fault, Operation, Turn};
use crate::client::{Answer, Request};

/// Ids of one request; the API takes up to 100.
const IDS: usize = 20;

#[derive(Debug)]
pub(super) struct Batch;

#[derive(Deserialize)]
struct Found {
    items: Vec<Account>,
    missing: Vec<Missing>,
}

#[derive(Deserialize)]
struct Missing {
    id: String,
}

impl Operation for Batch {
    fn name(&self) -> &'static str {
        "batch"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let mut ids: Vec<String> = Vec::with_capacity(IDS);
        // Few users may mean the same one again and again.
        for _ in 0..IDS * 4 {
            let id = turn.neighbour().id.clone();
            if !ids.contains(&id) && ids.len() < IDS - 1 {
                ids.push(id);
            }
        }
        let nobody = turn.fresh_id();
        ids.insert(turn.random.random_range(0..=ids.len()), nobody.clone());
        let path = format!("/v1/users?ids={}", ids.join(","));
        Begun {
            request: Request::get(path, turn.crowd.admin(turn.user.tenant)),
            judge: Box::new(move |answer| judge(&ids, &nobody, answer)),
        }
    }
}

fn judge(ids: &[String], nobody: &str, answer: &Answer) -> Result<Effect, Fault> {
    expect(answer, &[200])?;
    let found: Found = parsed(answer)?;
    let expected = ids.iter().filter(|id| *id != nobody);
    if !found.items.iter().map(|item| &item.id).eq(expected) {
        let got: Vec<_> = found.items.iter().map(|item| &*item.id).collect();
        let what = format!("asked for {} and got {}", ids.join(","), got.join(","));
        return Err(violation("batch_order", answer, what));
    }
    if found
        .missing
        .iter()
        .map(|missing| &*missing.id)
        .ne([nobody])
    {
        let what = format!("{nobody} is missing, and was not the one that was called so");
        return Err(violation("batch_missing", answer, what));
    }
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdict::tests::answer;
    use super::*;

    #[test]
    fn order_gaps_and_duplicates_are_seen() {
        let ids = ["a", "b", "c"].map(str::to_owned);
        let rule = |items: &[&str], missing: &[&str]| {
            let account = |id: &&str| json!({ "id": id, "version": 1 });
            let items: Vec<_> = items.iter().map(account).collect();
            let missing: Vec<_> = missing.iter().map(|id| json!({ "id": id })).collect();
            let body = json!({ "items": items, "missing": missing });
            match judge(&ids, "b", &answer(200, "", &body)) {
                Err(Fault::Violation { rule, .. }) => Some(rule),
                Ok(_) | Err(Fault::Error { .. }) => None,
            }
        };
        assert_eq!(rule(&["a", "c"], &["b"]), None);
        assert_eq!(rule(&["c", "a"], &["b"]), Some("batch_order"));
        assert_eq!(rule(&["a", "a", "c"], &["b"]), Some("batch_order"));
        assert_eq!(rule(&["a"], &["b"]), Some("batch_order"));
        assert_eq!(rule(&["a", "c"], &[]), Some("batch_missing"));
    }
}
