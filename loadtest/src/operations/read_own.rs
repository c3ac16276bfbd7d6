//! Reads the user's own account with the token of the last answer: it must show at least what that
//! answer told, and what was written when it shows the same version.

use std::sync::Arc;

use super::verdict::{account_of, expect, has_token, violation};
use super::{Begun, Effect, Fault, Operation, Turn};
use crate::client::{Answer, Request};
use crate::crowd::{Crowd, Seen, VirtualUser};

#[derive(Debug)]
pub(super) struct ReadOwn;

impl Operation for ReadOwn {
    fn name(&self) -> &'static str {
        "read_own"
    }

    fn begin(&self, turn: &mut Turn<'_>) -> Begun {
        own(turn.crowd, &turn.user)
    }
}

/// The user reads itself.
pub(crate) fn own(crowd: &Crowd, user: &Arc<VirtualUser>) -> Begun {
    let (user, told) = (Arc::clone(user), user.seen().clone());
    let path = format!("/v1/users/{}", user.id);
    let mut request = Request::get(path, crowd.credential(&user));
    request.token.clone_from(&told.token);
    Begun {
        request,
        judge: Box::new(move |answer| judge(&user, &told, answer)),
    }
}

fn judge(user: &VirtualUser, told: &Seen, answer: &Answer) -> Result<Effect, Fault> {
    if answer.status == 404 && told.token.is_some() {
        let what = format!("{} had version {} and is 404 now", user.id, told.version);
        return Err(violation("write_not_shown", answer, what));
    }
    expect(answer, &[200])?;
    let account = account_of(&user.id, answer)?;
    has_token(answer)?;
    if account.version < told.version {
        let what = format!(
            "{} was sent with token {:?} of version {} and answered with version {}",
            user.id, told.token, told.version, account.version
        );
        return Err(violation("version_went_back", answer, what));
    }
    let mut seen = user.seen();
    seen.told(account.version, answer.token.as_deref());
    seen.etag.clone_from(&answer.etag);
    if account.email.is_some() {
        seen.email = account.email;
    }
    // Also what another request of the same user has written in the meantime.
    let written = [&seen.bio, &told.bio].into_iter().flatten();
    for (version, bio) in written {
        if *version == account.version && account.bio.as_ref() != Some(bio) {
            let what = format!(
                "version {version} of {} has not the text that made it",
                user.id
            );
            return Err(violation("write_not_shown", answer, what));
        }
    }
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdict::tests::answer;
    use super::*;

    fn user() -> VirtualUser {
        VirtualUser::new("7a0e".to_owned(), 0, None, "eu-west")
    }

    fn told() -> Seen {
        Seen {
            version: 2,
            token: Some("1.0.20".to_owned()),
            bio: Some((2, "written".to_owned())),
            ..Seen::default()
        }
    }

    fn rule(answer: &Answer) -> Option<&'static str> {
        match judge(&user(), &told(), answer) {
            Ok(_) => None,
            Err(Fault::Violation { rule, .. }) => Some(rule),
            Err(Fault::Error { kind, .. }) => panic!("{kind}"),
        }
    }

    #[test]
    fn a_read_with_a_token_shows_the_write_or_something_later() {
        let shown = |version, bio| {
            let body = json!({ "id": "7a0e", "version": version, "bio": bio });
            rule(&answer(200, "1.0.30", &body))
        };
        assert_eq!(shown(2, "written"), None);
        assert_eq!(shown(3, "by another"), None);
        assert_eq!(shown(1, "before"), Some("version_went_back"));
        assert_eq!(shown(2, "before"), Some("write_not_shown"));
    }

    #[test]
    fn an_account_that_was_there_is_there_and_is_no_other() {
        assert_eq!(
            rule(&answer(404, "1.0.30", &json!({}))),
            Some("write_not_shown")
        );
        let other = json!({ "id": "7a0f", "version": 2, "bio": "written" });
        assert_eq!(
            rule(&answer(200, "1.0.30", &other)),
            Some("another_account")
        );
        assert_eq!(
            rule(&answer(200, "1.0.30", &json!([]))),
            Some("unreadable_body")
        );
    }

    #[test]
    fn an_answer_without_a_token_would_end_all_checks_and_is_a_violation() {
        let body = json!({ "id": "7a0e", "version": 2, "bio": "written" });
        let mut answer = answer(200, "1.0.30", &body);
        answer.token = None;
        assert_eq!(rule(&answer), Some("no_token"));
    }

    #[test]
    fn an_answer_moves_what_the_session_was_told() {
        let user = user();
        let body = json!({ "id": "7a0e", "version": 5, "bio": "x" });
        judge(&user, &told(), &answer(200, "1.0.50", &body)).unwrap();
        assert_eq!(user.seen().version, 5);
        assert_eq!(user.seen().token.as_deref(), Some("1.0.50"));
    }
}
