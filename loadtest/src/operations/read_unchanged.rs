//! Reads the user's own account again with the `ETag` of the last time: 304 unless it changed.

use std::sync::Arc;

use super::verdict::{account_of, expect, violation};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct ReadUnchanged;

impl Operation for ReadUnchanged {
    fn name(&self) -> &'static str {
        "read_unchanged"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let user = Arc::clone(&turn.user);
        let etag = user.seen().etag.clone();
        let path = format!("/v1/users/{}", user.id);
        let mut request = Request::get(path, turn.crowd.credential(&user));
        request.if_none_match.clone_from(&etag);
        Begun {
            request,
            judge: Box::new(move |answer| {
                if answer.status == 304 {
                    if etag.is_some() {
                        return Ok(Effect::None);
                    }
                    let what = format!("{} is 304 without If-None-Match", user.id);
                    return Err(violation("unasked_304", answer, what));
                }
                expect(answer, &[200])?;
                account_of(&user.id, answer)?;
                user.seen().etag.clone_from(&answer.etag);
                Ok(Effect::None)
            }),
        }
    }
}
