//! I9: no text of one tenant in what another is shown, holds or is keyed by.

use testkit::pipeline::canary;

use super::index::Index;
use super::report::{Invariant, Report};
use super::shown::Shown;
use crate::history::Outcome;

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let canaries = &index.history.scene.canaries;
    let mut scanned = 0;
    let mut scan = |tenant: &str, place: String, text: &str| {
        scanned += 1;
        let others = canaries.iter().filter(|(other, _)| *other != tenant);
        let foreign: Vec<&str> = others
            .flat_map(|(_, all)| all)
            .map(String::as_str)
            .collect();
        if !canary::found(&foreign, text).is_empty() {
            let what = format!("a text of another tenant than {tenant}");
            report.violation(Invariant::I9, place, what);
            return true;
        }
        false
    };
    let history = index.history;
    let mut strangers = vec![];
    for operation in &history.operations {
        let place = Index::place(operation);
        if scan(&operation.tenant, place, &operation.body) || operation.outcome != Outcome::Ok {
            continue;
        }
        for shown in Shown::in_answer(operation) {
            let is_of = |(tenant, user): &(String, String)| {
                *tenant != operation.tenant && *user == shown.user.to_string()
            };
            if index.states.keys().any(is_of) {
                strangers.push((Index::place(operation), shown.user));
            }
        }
    }
    for line in &history.rows {
        let place = format!("rows, user {} of {}", line.id, line.tenant);
        let row = serde_json::to_string(&line.row).expect("a row is JSON");
        scan(&line.tenant, place, &row);
    }
    for line in &history.cached {
        let place = format!("cached, key {}", line.key);
        scan(&line.tenant, place, &line.body.to_string());
    }
    for event in &history.events {
        let place = format!("events {}:{}", event.partition, event.position);
        scan(&event.tenant, place, &event.payload.to_string());
    }
    for (place, user) in strangers {
        report.violation(Invariant::I9, place, format!("user {user} is another's"));
    }
    report.required("texts searched for canaries (I9)", scanned);
    report.required("tenants (I9)", canaries.len().saturating_sub(1));
}
