//! Pages of a list, walked by their cursors: what was shown before never comes again, and the
//! order holds within a page and from one to the next.

use std::sync::Arc;

use serde::Deserialize;

use super::verdict::{parsed, violation};
use super::{Effect, Fault};
use crate::client::Answer;
use crate::crowd::Place;

/// Items of a page.
pub(super) const LIMIT: usize = 50;

/// Who stands in a list, as far as its order needs it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) last_active: chrono::DateTime<chrono::Utc>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    older: Option<String>,
}

/// Where a walk through a list has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The cursor of the next page; none is the first one.
    pub(super) older: Option<String>,
    /// The last item that was shown.
    last: Option<Item>,
}

/// The order of a list: whether the second may come after the first. It is strict, so an item that
/// comes twice breaks it, too.
pub(super) type Follows = fn(&Item, &Item) -> bool;

/// Judges a page and leaves the walk for who comes next.
pub(super) fn judge(
    place: &Arc<Place>,
    mut walk: Walk,
    follows: Follows,
    answer: &Answer,
) -> Result<Effect, Fault> {
    let page: Page = parsed(answer)?;
    if page.items.len() > LIMIT {
        let what = format!("{} items of at most {LIMIT}", page.items.len());
        return Err(violation("page_too_long", answer, what));
    }
    for item in page.items {
        if let Some(last) = &walk.last
            && !follows(last, &item)
        {
            let what = format!("{item:?} came after {last:?}");
            return Err(violation("list_order", answer, what));
        }
        walk.last = Some(item);
    }
    walk.older = page.older;
    // At the end the next walk begins anew.
    if walk.older.is_some() {
        place.leave(walk);
    }
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdict::tests::answer;
    use super::*;

    fn page(ids: &[&str], older: Option<&str>) -> Answer {
        let item = |id: &&str| json!({ "id": id, "last_active": "2026-01-01T00:00:00Z" });
        let items: Vec<_> = ids.iter().map(item).collect();
        answer(200, "", &json!({ "items": items, "older": older }))
    }

    fn by_id(last: &Item, next: &Item) -> bool {
        last.id < next.id
    }

    #[test]
    fn a_walk_goes_on_where_the_page_before_ended() {
        let place = Arc::new(Place::default());
        judge(
            &place,
            Walk::default(),
            by_id,
            &page(&["a", "b"], Some("c1")),
        )
        .unwrap();
        let walk = place.take();
        assert_eq!(walk.older.as_deref(), Some("c1"));
        judge(&place, walk, by_id, &page(&["c"], None)).unwrap();
        assert_eq!(place.take(), Walk::default());
    }

    #[test]
    fn wrong_order_and_duplicates_are_seen_also_across_pages() {
        let place = Arc::new(Place::default());
        let rule = |walk: Walk, ids: &[&str]| match judge(&place, walk, by_id, &page(ids, None)) {
            Err(Fault::Violation { rule, .. }) => Some(rule),
            Ok(_) | Err(Fault::Error { .. }) => None,
        };
        assert_eq!(rule(Walk::default(), &["a", "b"]), None);
        assert_eq!(rule(Walk::default(), &["b", "a"]), Some("list_order"));
        assert_eq!(rule(Walk::default(), &["a", "a"]), Some("list_order"));
        judge(
            &place,
            Walk::default(),
            by_id,
            &page(&["a", "b"], Some("c1")),
        )
        .unwrap();
        assert_eq!(rule(place.take(), &["b", "c"]), Some("list_order"));
    }
}
