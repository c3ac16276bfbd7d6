//! Writes a text that nobody wrote before into the user's own profile.

use std::sync::Arc;

use hyper::Method;
use serde_json::json;

use super::verdict::{Done, expect, parsed};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;

#[derive(Debug)]
pub(super) struct Update;

impl Operation for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let (user, bio) = (Arc::clone(&turn.user), turn.crowd.fresh_text());
        let (path, body) = (format!("/v1/users/{}", user.id), json!({ "bio": bio }));
        let credential = turn.crowd.credential(&user);
        let request = Request::command(Method::PATCH, path, credential, body.to_string());
        Begun {
            request: turn.keyed(request),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                let done: Done = parsed(answer)?;
                let mut seen = user.seen();
                seen.told(done.version, answer.token.as_deref());
                if seen
                    .bio
                    .as_ref()
                    .is_none_or(|(version, _)| *version < done.version)
                {
                    seen.bio = Some((done.version, bio));
                }
                drop(seen);
                Ok(Effect::Written(user, done.version))
            }),
        }
    }
}
