//! Every setting that a binary's `--help` names stands in `.env.example`, and nothing else does.

use std::collections::BTreeSet;
use std::process::Command;

use testkit::pipeline::binaries;

use super::{assert_none, root};

/// Every command line that has settings of its own.
const COMMAND_LINES: &[(&str, &[&str])] = &[
    ("command-api", &[]),
    ("query-api", &[]),
    ("projector", &["run"]),
    ("projector", &["status"]),
    ("projector", &["parked", "list"]),
    ("projector", &["store", "info"]),
    ("projector", &["topics", "create"]),
    ("projector", &["relay", "status"]),
    ("runnel", &["up"]),
    ("runnel", &["migrate"]),
    ("runnel", &["keys"]),
    ("runnel", &["token"]),
    ("runnel", &["demo"]),
    ("loadtest", &["run"]),
];

/// The variables that a help text names, as `[env: NAME=…]`.
fn of_help(binary: &str, verb: &[&str]) -> BTreeSet<String> {
    let output = Command::new(binaries::path(binary))
        .args(verb)
        .arg("--help")
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{binary} {verb:?} --help failed");
    let text = String::from_utf8(output.stdout).expect("a help text");
    let names = text.split("[env:").skip(1).map(str::trim_start);
    names
        .filter_map(|rest| rest.split(['=', ']']).next())
        .map(str::to_owned)
        .collect()
}

/// The variables of `.env.example`: `NAME=value`, commented out or not.
fn of_example() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(".env.example")).expect("the example");
    let names = text.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches(['#', ' ']).split_once('=')?;
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
    });
    names.collect()
}

#[test]
fn every_setting_of_a_help_text_stands_in_the_example_and_nothing_else() {
    binaries::build();
    let example = of_example();
    let mut told = BTreeSet::new();
    let mut findings = vec![];
    for (binary, verb) in COMMAND_LINES {
        let names = of_help(binary, verb);
        let missing = names.iter().filter(|name| !example.contains(*name));
        findings.extend(missing.map(|name| format!("{binary} {}: {name}", verb.join(" "))));
        told.extend(names);
    }
    assert!(told.len() > 40, "the help texts name only {told:?}");
    findings.extend(
        example
            .difference(&told)
            .map(|name| format!("in no --help: {name}")),
    );
    assert_none(&findings, ".env.example");
}
