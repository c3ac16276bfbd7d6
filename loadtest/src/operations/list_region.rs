//! Pages through the accounts of the user's region, those who were active last first.

use super::page::{self, Item, LIMIT};
use super::verdict::expect;
use super::{Begun, Operation, Turn};
use crate::client::Request;
use std::cmp::Reverse;

/// Long before any account was made: everybody.
const ACTIVE_SINCE: &str = "2020-01-01T00:00:00Z";

#[derive(Debug)]
pub(super) struct ListRegion;

impl Operation for ListRegion {
    fn name(&self) -> &'static str {
        "list_region"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let (tenant, region) = (turn.user.tenant, turn.user.region);
        let place = turn.crowd.place(region, tenant);
        let walk = place.take();
        let mut path =
            format!("/v1/users?region={region}&active_since={ACTIVE_SINCE}&limit={LIMIT}");
        if let Some(older) = &walk.older {
            path.push_str("&older=");
            path.push_str(older);
        }
        Begun {
            request: Request::get(path, turn.crowd.admin(tenant)),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                page::judge(&place, walk, by_activity, answer)
            }),
        }
    }
}

fn by_activity(last: &Item, next: &Item) -> bool {
    (Reverse(last.last_active), &last.id) < (Reverse(next.last_active), &next.id)
}
