//! Pages through the accounts of a region, those who were active last first.

use std::cmp::Reverse;
use std::sync::Arc;

use super::page::{self, LIMIT};
use super::{Begun, Operation, Turn};

/// Long before any account was made: everybody.
const ACTIVE_SINCE: &str = "2020-01-01T00:00:00Z";

#[derive(Debug)]
pub(super) struct ListRegion;

impl Operation for ListRegion {
    fn name(&self) -> &'static str {
        "list_region"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        // Of somebody of the population: who was registered just now may be the first there.
        let somebody = turn.somebody();
        let (tenant, region) = (somebody.tenant, somebody.region);
        let path = format!("/v1/users?region={region}&active_since={ACTIVE_SINCE}&limit={LIMIT}");
        let list = page::List {
            place: turn.crowd.place(region, tenant),
            homes: Arc::clone(turn.crowd.homes()),
            tenant,
            region: Some(region),
            follows: |last, next| {
                (Reverse(last.last_active), &last.id) < (Reverse(next.last_active), &next.id)
            },
        };
        page::begin(path, turn.crowd.admin(tenant), list)
    }
}
