//! Pages of a list, walked by their cursors: what was shown before never comes again, the order
//! holds within a page and from one to the next, and nobody of another tenant is shown.

use std::sync::Arc;

use serde::Deserialize;

use super::verdict::{expect, parsed, violation};
use super::{Begun, Effect, Fault};
use crate::client::{Answer, Request};
use crate::crowd::{Homes, Place};

/// Items of a page.
pub(super) const LIMIT: usize = 50;

/// Who stands in a list, as far as its order needs it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) last_active: chrono::DateTime<chrono::Utc>,
    #[serde(default)]
    pub(super) region: String,
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

/// A list that is walked through.
pub(super) struct List {
    pub(super) place: Arc<Place>,
    pub(super) homes: Arc<Homes>,
    pub(super) tenant: usize,
    /// Whose list it is, when it is a region's.
    pub(super) region: Option<&'static str>,
    pub(super) follows: Follows,
}

/// The order of a list: whether the second may come after the first. It is strict, so an item that
/// comes twice breaks it, too.
pub(super) type Follows = fn(&Item, &Item) -> bool;

/// Asks for the next page of the list at `path`.
pub(super) fn begin(mut path: String, credential: &Arc<str>, list: List) -> Begun {
    let walk = list.place.take();
    if let Some(older) = &walk.older {
        path.push_str("&older=");
        path.push_str(older);
    }
    Begun {
        request: Request::get(path, credential),
        judge: Box::new(move |answer| {
            expect(answer, &[200])?;
            judge(&list, walk, answer)
        }),
    }
}

/// Judges a page and leaves the walk for who comes next.
fn judge(list: &List, mut walk: Walk, answer: &Answer) -> Result<Effect, Fault> {
    let page: Page = parsed(answer)?;
    // The population is there before the load, and every tenant has some of it.
    if list.region.is_none() && walk.last.is_none() && page.items.is_empty() {
        return Err(violation(
            "empty_list",
            answer,
            "the first page is empty".to_owned(),
        ));
    }
    if page.items.len() > LIMIT {
        let what = format!("{} items of at most {LIMIT}", page.items.len());
        return Err(violation("page_too_long", answer, what));
    }
    for item in page.items {
        let home = list.homes.get(&item.id).copied().unwrap_or(list.tenant);
        let of_region = list.region.is_none_or(|region| item.region == region);
        if home != list.tenant || !of_region {
            let what = format!("{item:?} does not belong there");
            return Err(violation("foreign_item", answer, what));
        }
        if let Some(last) = &walk.last
            && !(list.follows)(last, &item)
        {
            let what = format!("{item:?} came after {last:?}");
            return Err(violation("list_order", answer, what));
        }
        walk.last = Some(item);
    }
    walk.older = page.older;
    // At the end the next walk begins anew.
    if walk.older.is_some() {
        list.place.leave(walk);
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

    fn list() -> List {
        List {
            place: Arc::default(),
            homes: Arc::new([("z".to_owned(), 1)].into()),
            tenant: 0,
            region: None,
            follows: |last, next| last.id < next.id,
        }
    }

    fn rule(list: &List, walk: Walk, ids: &[&str]) -> Option<&'static str> {
        match judge(list, walk, &page(ids, None)) {
            Err(Fault::Violation { rule, .. }) => Some(rule),
            Ok(_) | Err(Fault::Error { .. }) => None,
        }
    }

    #[test]
    fn a_walk_goes_on_where_the_page_before_ended() {
        let list = list();
        judge(&list, Walk::default(), &page(&["a", "b"], Some("c1"))).unwrap();
        let walk = list.place.take();
        assert_eq!(walk.older.as_deref(), Some("c1"));
        judge(&list, walk, &page(&["c"], None)).unwrap();
        assert_eq!(list.place.take(), Walk::default());
    }

    #[test]
    fn wrong_order_and_duplicates_are_seen_also_across_pages() {
        let list = list();
        assert_eq!(rule(&list, Walk::default(), &["a", "b"]), None);
        assert_eq!(
            rule(&list, Walk::default(), &["b", "a"]),
            Some("list_order")
        );
        assert_eq!(
            rule(&list, Walk::default(), &["a", "a"]),
            Some("list_order")
        );
        judge(&list, Walk::default(), &page(&["a", "b"], Some("c1"))).unwrap();
        assert_eq!(
            rule(&list, list.place.take(), &["b", "c"]),
            Some("list_order")
        );
    }

    #[test]
    fn nobody_of_another_tenant_or_region_is_shown_and_the_first_page_shows_somebody() {
        let list = list();
        assert_eq!(
            rule(&list, Walk::default(), &["a", "z"]),
            Some("foreign_item")
        );
        assert_eq!(rule(&list, Walk::default(), &[]), Some("empty_list"));
        let of_region = List {
            region: Some("eu-west"),
            ..list
        };
        assert_eq!(
            rule(&of_region, Walk::default(), &["a"]),
            Some("foreign_item")
        );
    }
}
