//! I6 and I7: what a session was shown never goes back, a read with a token shows that write or
//! says that it cannot; and each answer shows a state that the user really had (I5).

use std::collections::BTreeMap;

use testkit::pipeline::view::Key;

use super::index::{Entry, Index, key};
use super::report::{Invariant, Report};
use super::shown::Shown;
use crate::history::{Kind, Operation, Outcome};

/// The highest version that each session knows of each user, and the token that came with it.
type Known<'h> = BTreeMap<(&'h str, Key), (i64, Option<&'h str>)>;

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let mut operations: Vec<_> = index.history.operations.iter().collect();
    operations.sort_by_key(|operation| operation.begun);
    let mut known = Known::new();
    let (mut with_token, mut compared, mut shown_users) = (0, 0, 0);
    for operation in operations {
        let shown = Shown::in_answer(operation);
        shown_users += shown.len();
        for shown in &shown {
            is_a_state(index, operation, shown, report);
        }
        if operation.sent.is_some() && operation.stale.is_none() && !operation.kind.is_command() {
            with_token += usize::from(operation.outcome == Outcome::Ok);
            shows_token(index, operation, &shown, report);
            for shown in &shown {
                compared += usize::from(goes_on(index, operation, shown, &known, report));
            }
        }
        learn(operation, &shown, &mut known);
    }
    report.required("answered reads with a token (I7)", with_token);
    report.required("versions compared within sessions (I6)", compared);
    report.required("users shown in answers (I5)", shown_users);
}

fn is_a_state(index: &Index<'_>, operation: &Operation, shown: &Shown, report: &mut Report) {
    let key = key(&operation.tenant, shown.user);
    let Some(states) = index.states.get(&key) else {
        let is_anothers = index.states.keys().any(|(_, user)| *user == key.1);
        // Another tenant's is reported there.
        if !is_anothers && !was_of_lost_tail(index, operation) {
            let what = format!("shows user {}, who has no event", key.1);
            report.violation(index.phantom(Invariant::I5), Index::place(operation), what);
        }
        return;
    };
    let state = states.iter().find(|state| state.version == shown.version);
    let difference = match state {
        None => Some(format!("there never was version {}", shown.version)),
        Some(state) => shown.difference(state),
    };
    if let Some(difference) = difference
        && !was_of_lost_tail(index, operation)
    {
        let what = format!("user {}: {difference}", key.1);
        report.violation(index.phantom(Invariant::I5), Index::place(operation), what);
    }
}

/// It says itself that it is true as of a position that was lost: it was, when it was given.
fn was_of_lost_tail(index: &Index<'_>, operation: &Operation) -> bool {
    index.has_void(operation.token.as_deref())
}

/// I7: each user that is shown has come at least to the positions that were sent, and to those
/// that the answer itself claims.
fn shows_token(index: &Index<'_>, operation: &Operation, shown: &[Shown], report: &mut Report) {
    let sent = operation.sent.as_deref();
    let mut demand = |entries: &[Entry], whose: &str| {
        let mut wanting = |user: String, entry: &Entry, is: i64| {
            let key = (operation.tenant.clone(), user);
            let least = index.version_at(&key, entry.partition, entry.position);
            if is < least {
                let at = format!("{}:{}", entry.partition, entry.position);
                let what = format!(
                    "user {}: shows version {is}, but {least} had come at {at}, {whose}",
                    key.1
                );
                report.violation(Invariant::I7, Index::place(operation), what);
            }
        };
        for entry in entries {
            for shown in shown {
                wanting(shown.user.to_string(), entry, shown.version);
            }
            if operation.kind == Kind::Read
                && operation.status == Some(404)
                && let Some(user) = operation.user
            {
                wanting(user.to_string(), entry, 0);
            }
        }
    };
    demand(&index.valid(sent), "which was sent");
    if operation.outcome == Outcome::Ok {
        demand(&index.valid(operation.token.as_deref()), "which it claims");
    }
    if operation.status == Some(400) && !index.has_void(sent) {
        let what = format!("the token {sent:?} was given out and is not known");
        report.violation(Invariant::I7, Index::place(operation), what);
    }
}

/// I6; gives whether there was something to compare with.
fn goes_on(
    index: &Index<'_>,
    operation: &Operation,
    shown: &Shown,
    known: &Known<'_>,
    report: &mut Report,
) -> bool {
    let key = key(&operation.tenant, shown.user);
    let Some((version, token)) = known.get(&(operation.session.as_str(), key)) else {
        return false;
    };
    if index.has_void(*token) {
        return false;
    }
    // What the token itself demands is I7's.
    let user = shown.user;
    if shown.version < *version && !is_demanded(index, operation, shown, *version) {
        let what = format!(
            "user {user}: version {} after the session knew {version}",
            shown.version
        );
        report.violation(Invariant::I6, Index::place(operation), what);
    }
    true
}

fn is_demanded(index: &Index<'_>, operation: &Operation, shown: &Shown, version: i64) -> bool {
    let key = key(&operation.tenant, shown.user);
    let sent = index.valid(operation.sent.as_deref());
    let mut least = sent
        .iter()
        .map(|entry| index.version_at(&key, entry.partition, entry.position));
    least.any(|least| least >= version)
}

fn learn<'h>(operation: &'h Operation, shown: &[Shown], known: &mut Known<'h>) {
    if operation.outcome != Outcome::Ok || operation.stale.is_some() {
        return;
    }
    let token = operation.token.as_deref();
    let mut raise = |user, version| {
        let key = (operation.session.as_str(), key(&operation.tenant, user));
        let known = known.entry(key).or_insert((version, token));
        if known.0 <= version {
            *known = (version, token);
        }
    };
    if let (Some(user), Some(version), true) = (
        operation.user,
        operation.version,
        operation.kind.is_command(),
    ) {
        raise(user, version);
    }
    for shown in shown {
        raise(shown.user, shown.version);
    }
}
