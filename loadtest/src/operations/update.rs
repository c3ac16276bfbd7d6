//! Writes a text that nobody wrote before into the user's own profile.

use std::sync::Arc;

use hyper::Method;
use serde_json::json;

use super::verdict::{done_to, expect, violation};
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
        let told = user.seen().version;
        let (path, body) = (format!("/v1/users/{}", user.id), json!({ "bio": bio }));
        let credential = turn.crowd.credential(&user);
        let request = Request::command(Method::PATCH, path, credential, body.to_string());
        Begun {
            request: turn.keyed(request),
            judge: Box::new(move |answer| {
                expect(answer, &[200])?;
                let done = done_to(&user.id, answer)?;
                let mut seen = user.seen();
                let last = seen.bio.as_ref().map_or(0, |(version, _)| *version);
                // A new text is a new version, and no two writes make the same one.
                if done.version <= told || done.version == last {
                    let (id, version) = (&user.id, done.version);
                    let what = format!("{id} got version {version} after {told} and {last}");
                    return Err(violation("version_given_twice", answer, what));
                }
                seen.told(done.version, answer.token.as_deref());
                if last < done.version {
                    seen.bio = Some((done.version, bio));
                }
                drop(seen);
                Ok(Effect::Written(user, done.version))
            }),
        }
    }
}
