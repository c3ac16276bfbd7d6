//! Pages through all accounts of the tenant, ordered by id.

use std::sync::Arc;

use super::page::{self, LIMIT};
use super::{Begun, Operation, Turn};

#[derive(Debug)]
pub(super) struct List;

impl Operation for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let (tenant, path) = (turn.user.tenant, format!("/v1/users?limit={LIMIT}"));
        let list = page::List {
            place: turn.crowd.place(self.name(), tenant),
            homes: Arc::clone(turn.crowd.homes()),
            tenant,
            region: None,
            follows: |last, next| last.id < next.id,
        };
        page::begin(path, turn.crowd.admin(tenant), list)
    }
}
