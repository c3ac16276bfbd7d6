//! Reads somebody of another tenant: 404, as if there were nobody. With one tenant it reads an id
//! that nobody has.

use super::verdict::{expect, violation};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct ReadForeign;

impl Operation for ReadForeign {
    fn name(&self) -> &'static str {
        "read_foreign"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let target = turn.somebody();
        let tenants = turn.crowd.tenants();
        let (id, reader) = match tenants {
            1 => (turn.fresh_id(), target.tenant),
            _ => (target.id.clone(), (target.tenant + 1) % tenants),
        };
        Begun {
            request: Request::get(format!("/v1/users/{id}"), turn.crowd.admin(reader)),
            judge: Box::new(move |answer| {
                if answer.status == 200 {
                    let what = format!("{id} was shown to another tenant");
                    return Err(violation("foreign_account", answer, what));
                }
                expect(answer, &[404])?;
                Ok(Effect::None)
            }),
        }
    }
}
