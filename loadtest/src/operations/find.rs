//! Finds an account by its address.

use serde::Deserialize;

use super::verdict::{Account, expect, parsed, violation};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct Find;

#[derive(Deserialize)]
struct Found {
    items: Vec<Account>,
}

impl Operation for Find {
    fn name(&self) -> &'static str {
        "find"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let target = turn.neighbour();
        let path = format!("/v1/users?email={}", target.email.replace('@', "%40"));
        Begun {
            request: Request::get(path, turn.crowd.admin(target.tenant)),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                let found: Found = parsed(answer)?;
                if found.items.iter().map(|item| &item.id).ne([&target.id]) {
                    let what = format!("the address of {} found {:?}", target.id, found.items);
                    return Err(violation("another_account", answer, what));
                }
                Ok(Effect::None)
            }),
        }
    }
}
