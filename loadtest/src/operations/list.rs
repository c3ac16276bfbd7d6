//! Pages through all accounts of the tenant, ordered by id.

use super::page::{self, Item, LIMIT};
use super::verdict::expect;
use super::{Begun, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct List;

impl Operation for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let tenant = turn.user.tenant;
        let place = turn.crowd.place(self.name(), tenant);
        let walk = place.take();
        let mut path = format!("/v1/users?limit={LIMIT}");
        if let Some(older) = &walk.older {
            path.push_str("&older=");
            path.push_str(older);
        }
        Begun {
            request: Request::get(path, turn.crowd.admin(tenant)),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                page::judge(&place, walk, by_id, answer)
            }),
        }
    }
}

fn by_id(last: &Item, next: &Item) -> bool {
    last.id < next.id
}
