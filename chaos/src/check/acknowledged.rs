//! I1: a command that was acknowledged has its event, a refused one has none, one whose outcome
//! nobody knows has none or one.

use super::index::Index;
use super::report::{Invariant, Report};
use crate::history::{Kind, Operation, Outcome};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let commands = index.history.operations.iter();
    let commands: Vec<_> = commands.filter(|op| op.kind.is_command()).collect();
    let count = |outcome| commands.iter().filter(|op| op.outcome == outcome).count();
    report.required("acknowledged commands (I1)", count(Outcome::Ok));
    report.counted("refused commands (I1)", count(Outcome::Refused));
    report.counted("commands of unknown outcome (I1)", count(Outcome::Unknown));
    for command in &commands {
        if let Some(what) = finding(index, command) {
            report.violation(Invariant::I1, Index::place(command), what);
        }
    }
    let mut asked: Vec<&str> = commands.iter().map(|op| op.request.as_str()).collect();
    asked.sort_unstable();
    for (request, events) in &index.by_request {
        if asked.binary_search(request).is_err() {
            let event = events[0];
            let place = format!("events {}:{}", event.partition, event.position);
            let what = format!("request {request:?}, which caused it, is nobody's");
            report.violation(Invariant::I1, place, what);
        }
    }
}

fn finding(index: &Index<'_>, command: &Operation) -> Option<String> {
    let own = index.by_request.get(command.request.as_str());
    let own = own.map(Vec::as_slice).unwrap_or_default();
    if own.len() > 1 {
        return Some(format!("has {} effects", own.len()));
    }
    match command.outcome {
        Outcome::Ok => lost(index, command),
        Outcome::Refused if !own.is_empty() => Some("was refused and left an event".to_owned()),
        Outcome::Refused | Outcome::Unknown => None,
    }
}

/// Why the acknowledged command is not in the event table.
fn lost(index: &Index<'_>, command: &Operation) -> Option<String> {
    let token = command.token.as_deref();
    if index.has_void(token) {
        // It was in the tail that the store lost.
        return None;
    }
    let Some(address) = index.valid(token).first().copied() else {
        return Some(format!("was acknowledged without an address: {token:?}"));
    };
    let text = format!("{}:{}", address.partition, address.position);
    let Some(event) = index.at.get(&(address.partition, address.position)) else {
        return Some(format!(
            "was acknowledged at {text}, where there is no event"
        ));
    };
    let user = command.user.map(|user| user.to_string());
    let is_effect = event.tenant == command.tenant
        && Some(&event.aggregate_id) == user.as_ref()
        && Some(event.sequence) == command.version;
    if !is_effect {
        return Some(format!(
            "was acknowledged at {text}, where another event stands"
        ));
    }
    let is_first = command.kind == Kind::Change && !command.is_replayed;
    let is_own = event.request_id() == Some(command.request.as_str());
    (is_first && !is_own)
        .then(|| format!("was acknowledged at {text}, where another's effect stands"))
}
