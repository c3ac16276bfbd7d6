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
        // Who was there before this load has an address of its own.
        let email = target.seen().email.clone();
        let email = email.unwrap_or_else(|| target.email.clone());
        let email: String = url::form_urlencoded::byte_serialize(email.as_bytes()).collect();
        let path = format!("/v1/users?email={email}");
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
