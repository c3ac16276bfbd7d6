//! I5: at rest each row is the fold of its events, and each checkpoint stands at its head.

use std::collections::BTreeMap;

use testkit::pipeline::view::Key;

use super::index::Index;
use super::report::{Invariant, Report};
use crate::history::Checkpoint;

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let history = index.history;
    report.required("rows (I5)", history.rows.len());
    report.required("checkpoints (I5)", history.checkpoints.len());
    let rows: BTreeMap<Key, _> = history
        .rows
        .iter()
        .map(|line| ((line.tenant.clone(), line.id.clone()), &line.row))
        .collect();
    if rows.len() != history.rows.len() {
        report.violation(Invariant::I5, "rows", "a user has two rows");
    }
    for (key, states) in &index.states {
        let place = format!("rows, user {} of {}", key.1, key.0);
        let should = states.last().expect("a user has an event");
        match rows.get(key) {
            None => report.violation(Invariant::I5, place, "there is no row"),
            Some(is) if *is == should => {}
            Some(is) => {
                let invariant = if is.version > should.version {
                    index.phantom(Invariant::I5)
                } else {
                    Invariant::I5
                };
                let what = format!("should be {should:?}, is {is:?}");
                report.violation(invariant, place, what);
            }
        }
    }
    for (tenant, user) in rows.keys().filter(|key| !index.streams.contains_key(*key)) {
        let place = format!("rows, user {user} of {tenant}");
        let invariant = index.phantom(Invariant::I5);
        report.violation(invariant, place, "there is no event of this user");
    }
    checkpoints(index, report);
}

fn checkpoints(index: &Index<'_>, report: &mut Report) {
    for head in &index.history.heads {
        let of_partition = |checkpoint: &&Checkpoint| checkpoint.partition == head.partition;
        let checkpoint = index.history.checkpoints.iter().find(of_partition);
        let place = format!("checkpoints, partition {}", head.partition);
        match checkpoint {
            Some(c) if index.is_void(c.incarnation, c.partition, c.position) => {
                report.violation(Invariant::I15, place, "is void");
            }
            Some(c) if c.position == head.position => {}
            other => {
                let what = format!("the head is {}, the checkpoint {other:?}", head.position);
                report.violation(Invariant::I5, place, what);
            }
        }
    }
}
