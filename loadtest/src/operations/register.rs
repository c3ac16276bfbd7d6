//! Registers a new account; the rest of the flow is its own.

use std::sync::Arc;

use hyper::Method;
use rand::Rng as _;
use serde_json::json;

use super::verdict::{done_to, expect};
use super::{Begun, Effect, Operation, Turn};
use crate::client::Request;
use crate::crowd::{Crowd, REGIONS, VirtualUser};

#[derive(Debug)]
pub(super) struct Register;

impl Operation for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        let (id, tenant) = (turn.fresh_id(), turn.user.tenant);
        let region = REGIONS[turn.random.random_range(0..REGIONS.len())];
        let newcomer = Arc::new(VirtualUser::new(id, tenant, None, region));
        turn.user = Arc::clone(&newcomer);
        let mut begun = registration(turn.crowd, &newcomer);
        begun.request = turn.keyed(begun.request);
        begun
    }
}

/// The registration of this account, by itself or by an admin.
pub(crate) fn registration(crowd: &Crowd, user: &Arc<VirtualUser>) -> Begun {
    let (user, bio) = (Arc::clone(user), crowd.fresh_text());
    let body = json!({
        "id": user.id, "email": user.email, "name": "Ada Lovelace", "region": user.region,
        "bio": bio,
    });
    let (path, credential) = ("/v1/users".to_owned(), crowd.credential(&user));
    Begun {
        request: Request::command(Method::POST, path, credential, body.to_string()),
        judge: Box::new(move |answer| {
            expect(answer, &[201])?;
            let done = done_to(&user.id, answer)?;
            let mut seen = user.seen();
            seen.told(done.version, answer.token.as_deref());
            seen.bio = Some((done.version, bio));
            drop(seen);
            Ok(Effect::Written(user, done.version))
        }),
    }
}
