//! Reads an id that nobody has: 404.

use super::verdict::{expect, violation};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct ReadMissing;

impl Operation for ReadMissing {
    fn name(&self) -> &'static str {
        "read_missing"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let id = turn.fresh_id();
        Begun {
            request: Request::get(format!("/v1/users/{id}"), turn.crowd.credential(&turn.user)),
            judge: Box::new(move |answer| {
                if answer.status == 200 {
                    let what = format!("{id} was never registered");
                    return Err(violation("read_of_nobody", answer, what));
                }
                expect(answer, &[404])?;
                Ok(Effect::None)
            }),
        }
    }
}
