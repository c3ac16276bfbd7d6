//! What has to be alike before two reports can be compared: scenario, settings, machine, and that
//! every run says something.

use std::collections::BTreeSet;

use super::super::{Report, Setting};

/// A setting that is not the same in both; none where it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting's name.
    pub name: String,
    /// Its value in the first.
    pub a: Option<String>,
    /// Its value in the second.
    pub b: Option<String>,
}

pub(super) fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = vec![];
    if a.scenario != b.scenario {
        warnings.push(format!(
            "other scenarios: a {}, b {}",
            a.scenario, b.scenario
        ));
    } else if a.scenario_text != b.scenario_text {
        warnings.push(format!("the scenario {} has another text in b", a.scenario));
    }
    if a.machine != b.machine {
        let name = |report: &Report| {
            let machine = &report.machine;
            let memory_mib = machine.memory_bytes >> 20;
            format!(
                "{}, {} cores, {memory_mib} MiB, {}",
                machine.processor, machine.cores, machine.system
            )
        };
        warnings.push(format!("other machines: a {}; b {}", name(a), name(b)));
    }
    if a.loadtest_version != b.loadtest_version {
        warnings.push(format!(
            "other versions of loadtest: a {}, b {}",
            a.loadtest_version, b.loadtest_version
        ));
    }
    warnings.extend(only_in("a", a, b));
    warnings.extend(only_in("b", b, a));
    for (name, report) in [("a", a), ("b", b)] {
        warnings.extend(doubts(name, report));
    }
    warnings
}

/// Operations that the other does not have.
fn only_in(name: &str, report: &Report, other: &Report) -> Option<String> {
    let names = |report: &Report| -> BTreeSet<String> {
        let operations = report.runs.iter().flat_map(|run| &run.operations);
        operations.map(|operation| operation.name.clone()).collect()
    };
    let only: Vec<_> = names(report).difference(&names(other)).cloned().collect();
    (!only.is_empty()).then(|| format!("operations that only {name} has: {}", only.join(", ")))
}

fn doubts(name: &str, report: &Report) -> Vec<String> {
    let mut doubts = vec![];
    if report.runs.iter().all(|run| run.attempted == 0) {
        doubts.push(format!("{name} measured nothing"));
    }
    let void = report.runs.iter().filter(|run| run.void.is_some()).count();
    if void > 0 {
        doubts.push(format!(
            "{void} of {} runs of {name} are void",
            report.runs.len()
        ));
    }
    let violations: u64 = report
        .runs
        .iter()
        .flat_map(|run| &run.violations)
        .map(|violation| violation.count)
        .sum();
    if violations > 0 {
        doubts.push(format!("{name} has {violations} violations"));
    }
    if report.verdict.interrupted {
        doubts.push(format!("{name} was interrupted"));
    }
    doubts
}

/// Settings that differ, targets included, in the order of the first, then those of the second
/// only. Which seeds were used is no difference, nor which tokens.
pub(super) fn differences(a: &Report, b: &Report) -> Vec<Difference> {
    let (a, b) = (with_targets(a), with_targets(b));
    let value = |settings: &[Setting], name: &str| {
        let setting = settings.iter().find(|setting| setting.name == name)?;
        Some(setting.value.clone())
    };
    let mut names: Vec<_> = a
        .iter()
        .chain(&b)
        .map(|setting| setting.name.clone())
        .collect();
    let mut known = BTreeSet::new();
    let counts = |name: &str| !name.starts_with("seed") && name != "tokens";
    names.retain(|name| counts(name) && known.insert(name.clone()));
    names
        .into_iter()
        .map(|name| Difference {
            a: value(&a, &name),
            b: value(&b, &name),
            name,
        })
        .filter(|difference| difference.a != difference.b)
        .collect()
}

fn with_targets(report: &Report) -> Vec<Setting> {
    let targets = Setting {
        name: "against".to_owned(),
        value: report.targets.join(", "),
    };
    std::iter::once(targets)
        .chain(report.settings.iter().cloned())
        .collect()
}
