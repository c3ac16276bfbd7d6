//! I10: requests with one idempotency key have one effect and one answer, whatever was killed
//! between them; another request under the same key is refused.

use std::collections::BTreeMap;

use super::index::Index;
use super::report::{Invariant, Report};
use crate::history::{Operation, Outcome};

/// The code of the refusal of another request under a known key.
const KEY_REUSED: &str = "key_reused";

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let mut groups: BTreeMap<(&str, &str), Vec<&Operation>> = BTreeMap::new();
    for operation in &index.history.operations {
        if let Some(key) = &operation.key {
            let group = groups.entry((&operation.tenant, key)).or_default();
            group.push(operation);
        }
    }
    let (mut replayed, mut reused) = (0, 0);
    for ((_, key), group) in groups {
        let effects = group.iter().flat_map(|operation| {
            let own = index.by_request.get(operation.request.as_str());
            own.into_iter().flatten()
        });
        let effects = effects.count();
        let requests = group.len();
        // Two of one request are I1's.
        if effects > 1 && requests > 1 {
            let what = format!("{requests} requests with it have {effects} effects");
            report.violation(Invariant::I10, format!("operations, key {key}"), what);
        }
        replayed += group.iter().filter(|op| op.is_replayed).count();
        reused += group.iter().filter(|op| is_reuse(op)).count();
        answers(key, &group, report);
    }
    report.required("replayed answers (I10)", replayed);
    report.counted("keys sent with another request (I10)", reused);
}

fn is_reuse(operation: &Operation) -> bool {
    operation.code.as_deref() == Some(KEY_REUSED)
}

fn answers(key: &str, group: &[&Operation], report: &mut Report) {
    let mut done = group.iter().filter(|op| op.outcome == Outcome::Ok);
    let Some(first) = done.clone().min_by_key(|op| op.begun) else {
        return;
    };
    let answer = |op: &Operation| (op.status, op.version, op.token.clone());
    if let Some(other) = done
        .clone()
        .find(|op| op.digest == first.digest && answer(op) != answer(first))
    {
        let what = format!(
            "{key} was answered {:?} and {:?}",
            answer(first),
            answer(other)
        );
        report.violation(Invariant::I10, Index::place(other), what);
    }
    if let Some(other) = done.find(|op| op.digest != first.digest) {
        let what = format!("{key} was of another request and is acknowledged");
        report.violation(Invariant::I10, Index::place(other), what);
    }
    let is_wrong = |op: &&&Operation| is_reuse(op) && op.digest == first.digest;
    if let Some(other) = group.iter().find(is_wrong) {
        let what = format!("{key} is refused as another request's, and was this one's");
        report.violation(Invariant::I10, Index::place(other), what);
    }
}
