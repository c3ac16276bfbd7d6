//! What every source file looks like.

use std::path::Path;

use super::{assert_none, root, tracked};

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// Modules that say nothing about what is in them.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "types", "manager", "misc",
];

/// Marks of unfinished work or of a rule that was silenced. Split, so that this file does not find
/// itself.
const LEFT_OVER: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
    concat!("#[", "allow("),
];

fn sources() -> Vec<(String, String)> {
    tracked(".rs")
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            (relative(&path), text)
        })
        .collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .expect("below the root")
        .display()
        .to_string()
}

#[test]
fn every_source_file_says_first_why_it_exists() {
    let findings: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert_none(&findings, "a source file opens with //!");
}

#[test]
fn files_stay_short_enough_to_be_read() {
    let findings: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&findings, "a file has at most 400 lines");
}

#[test]
fn comments_fit_and_no_line_has_trailing_space() {
    let mut findings = vec![];
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX && is_comment(line) {
                findings.push(format!("{path}:{}: too long", index + 1));
            }
            if line.ends_with([' ', '\t']) {
                findings.push(format!("{path}:{}: trailing space", index + 1));
            }
        }
    }
    assert_none(&findings, "lines");
}

/// Code is rustfmt's business; it leaves comments as they are. A row of a table is one line.
fn is_comment(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("//") && !text.starts_with("//! |")
}

#[test]
fn nothing_is_left_over_and_no_rule_is_silenced_without_a_reason() {
    let mut findings = vec![];
    for (path, text) in sources() {
        for mark in LEFT_OVER.iter().filter(|mark| text.contains(**mark)) {
            findings.push(format!("{path}: {mark}"));
        }
    }
    assert_none(&findings, "left over");
}

#[test]
fn modules_are_named_after_what_they_hold() {
    let findings: Vec<_> = tracked(".rs")
        .iter()
        .filter(|path| {
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            EMPTY_NAMES.contains(&stem)
        })
        .map(|path| relative(path))
        .collect();
    assert_none(&findings, "a module is named after a concept of the field");
}
