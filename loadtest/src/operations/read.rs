//! Reads somebody of the same tenant without a token: what caches are for.

use super::verdict::{account_of, expect};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct Read;

impl Operation for Read {
    fn name(&self) -> &'static str {
        "read"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let target = turn.neighbour();
        let path = format!("/v1/users/{}", target.id);
        Begun {
            request: Request::get(path, turn.crowd.credential(&turn.user)),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                account_of(&target.id, answer)?;
                Ok(Effect::None)
            }),
        }
    }
}
