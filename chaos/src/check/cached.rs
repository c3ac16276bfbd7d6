//! I11: at rest a cached value is its row or is absent, and whoever reads is shown the row; under
//! load a read without a token is behind what another was shown by no more than the bound.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::pipeline::view::Key;

use super::index::{Index, key};
use super::report::{Invariant, Report};
use super::shown::Shown;
use crate::history::{Operation, Outcome};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let rows = index.history.rows.iter();
    let rows: BTreeMap<Key, Value> = rows
        .map(|line| {
            let row = serde_json::to_value(&line.row).expect("a row is JSON");
            ((line.tenant.clone(), line.id.clone()), row)
        })
        .collect();
    values(index, &rows, report);
    settled(index, &rows, report);
    staleness(index, report);
}

fn values(index: &Index<'_>, rows: &BTreeMap<Key, Value>, report: &mut Report) {
    let live = index.history.cached.iter().filter(|line| line.is_live);
    let mut count = 0;
    for line in live {
        count += 1;
        let place = format!("cached, key {}", line.key);
        let Some(row) = rows.get(&(line.tenant.clone(), line.id.clone())) else {
            let invariant = index.phantom(Invariant::I11);
            report.violation(invariant, place, "there is no such row");
            continue;
        };
        let row = row.as_object().expect("a row is an object");
        let differs = |(field, is): &(&String, &Value)| {
            let cached = line.body.get(field.as_str());
            cached.is_some_and(|cached| cached != *is)
        };
        if let Some((field, is)) = row.iter().find(differs) {
            let what = format!("{field} is {}, in the row it is {is}", line.body[field]);
            report.violation(Invariant::I11, place, what);
        }
    }
    if index.history.scene.has_redis {
        report.required("cached values at rest (I11)", count);
    }
}

fn settled(index: &Index<'_>, rows: &BTreeMap<Key, Value>, report: &mut Report) {
    let operations = index.history.operations.iter();
    let settled = operations.filter(|op| op.is_settled && !op.kind.is_command());
    let mut count = 0;
    for operation in settled {
        if operation.outcome != Outcome::Ok {
            let what = format!("at rest it is answered {:?}", operation.status);
            report.violation(Invariant::I11, Index::place(operation), what);
        }
        for shown in Shown::in_answer(operation) {
            count += 1;
            let row = rows.get(&key(&operation.tenant, shown.user));
            let version = row.and_then(|row| row["version"].as_i64());
            if version.is_some_and(|version| version > shown.version) {
                let what = format!("shows version {}, the row has {version:?}", shown.version);
                report.violation(Invariant::I11, Index::place(operation), what);
            }
        }
    }
    report.required("users read at rest (I11)", count);
}

/// How long after a fault its followers may need, µs: leases run out, connections are made anew.
const AFTERMATH: u64 = 3_000_000;

/// Between faults only: what a fault holds up is not the cache's.
fn staleness(index: &Index<'_>, report: &mut Report) {
    let bound = index.history.scene.staleness_us_max;
    let is_calm = |from: u64, to: u64| {
        let mut faults = index.history.faults.iter();
        !faults.any(|fault| fault.begun <= to && from <= fault.ended + AFTERMATH)
    };
    // When each version of each user was first shown.
    let mut first: BTreeMap<Key, BTreeMap<i64, u64>> = BTreeMap::new();
    let mut reads: Vec<(&Operation, Vec<Shown>)> = vec![];
    for operation in index.history.operations.iter().filter(|op| !op.is_settled) {
        let shown = Shown::in_answer(operation);
        for shown in &shown {
            let key = key(&operation.tenant, shown.user);
            let first = first.entry(key).or_default();
            let ended = first.entry(shown.version).or_insert(operation.ended);
            *ended = operation.ended.min(*ended);
        }
        if operation.sent.is_none() && operation.stale.is_none() {
            reads.push((operation, shown));
        }
    }
    let (mut sampled, mut longest) = (0, 0);
    for (operation, shown) in reads {
        for shown in shown {
            let versions = &first[&key(&operation.tenant, shown.user)];
            let mut newer = versions.range(shown.version + 1..);
            let Some(known) = newer.find_map(|(_, at)| (*at < operation.begun).then_some(*at))
            else {
                sampled += 1;
                continue;
            };
            if !is_calm(known, operation.ended) {
                continue;
            }
            sampled += 1;
            let behind = operation.begun - known;
            longest = longest.max(behind);
            if behind > bound {
                let what = format!(
                    "user {}: version {} was superseded {behind} µs before; the bound is {bound}",
                    shown.user, shown.version
                );
                report.violation(Invariant::I11, Index::place(operation), what);
            }
        }
    }
    report.required("users read without a token (I11)", sampled);
    report.counted(
        "µs that one of them was behind at most (I11)",
        longest as usize,
    );
}
