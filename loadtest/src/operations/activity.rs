//! Says that the user is active; most of the time the domain has been told already, and nothing
//! is stored.

use std::sync::Arc;

use hyper::Method;

use super::verdict::{done_to, expect, violation};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct Activity;

impl Operation for Activity {
    fn name(&self) -> &'static str {
        "activity"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let user = Arc::clone(&turn.user);
        let told = user.seen().version;
        let path = format!("/v1/users/{}/activity", user.id);
        let credential = turn.crowd.credential(&user);
        let request = Request::command(Method::POST, path, credential, "{}".to_owned());
        Begun {
            request: turn.keyed(request),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                let done = done_to(&user.id, answer)?;
                if done.version < told {
                    let (id, version) = (&user.id, done.version);
                    let what = format!("{id} had version {told} and has {version}");
                    return Err(violation("version_went_back", answer, what));
                }
                user.seen().told(done.version, answer.token.as_deref());
                Ok(Effect::None)
            }),
        }
    }
}
