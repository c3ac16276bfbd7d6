//! The crate table of the architecture as a test, with licences and bans, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{assert_none, root};

/// Crate, own crates that it may use, and crates that it must not use directly.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    (
        "events",
        &[],
        &["sqlx", "redis", "rdkafka", "actix-web", "tokio", "tracing"],
    ),
    (
        "domain",
        &["events"],
        &[
            "sqlx",
            "redis",
            "rdkafka",
            "actix-web",
            "tokio",
            "tracing",
            "rand",
        ],
    ),
    ("event-store", &["events"], &["actix-web", "redis"]),
    (
        "read-model",
        &["events"],
        &["rdkafka", "actix-web", "cqrs-es"],
    ),
    ("platform", &[], &["cqrs-es"]),
    (
        "command-api",
        &["events", "domain", "event-store", "platform"],
        &["redis"],
    ),
    (
        "projector",
        &["events", "event-store", "read-model", "platform"],
        &["actix-web"],
    ),
    (
        "query-api",
        &["events", "read-model", "platform"],
        &["rdkafka", "cqrs-es"],
    ),
    (
        "runnel",
        &[
            "command-api",
            "projector",
            "query-api",
            "platform",
            "event-store",
            "events",
        ],
        &["rdkafka", "redis", "cqrs-es"],
    ),
    ("loadtest", &[], &["sqlx", "rdkafka", "redis"]),
];

/// Development only: they may use anything.
const DEVELOPMENT: &[&str] = &["testkit", "bench", "chaos"];

/// Licences that we ship.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("actix-governor", "GPL-3.0; use governor"),
    ("failsafe", "unmaintained; use platform::breaker"),
    ("backoff", "unmaintained; use backon"),
    ("openssl-sys", "TLS is rustls with aws-lc-rs"),
    ("mockall", "no mocks of our own crates"),
];

/// What is built for this platform: crates of others were never downloaded.
fn metadata() -> Value {
    let version = run(Command::new("rustc").arg("-vV"));
    let version = String::from_utf8(version).expect("rustc prints text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("rustc names its host");
    let metadata = run(Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", host]));
    serde_json::from_slice(&metadata).expect("cargo metadata is JSON")
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.current_dir(root()).output().expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("packages")
}

/// Our crates with the names of what they use outside of tests.
fn own_crates(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    packages(metadata)
        .iter()
        .filter(|package| package["source"].is_null())
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let used = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            let names = used
                .map(|dependency| text(dependency, "name").to_owned())
                .collect();
            (text(package, "name").to_owned(), names)
        })
        .collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let own = own_crates(&metadata());
    let mut findings = vec![];
    for (name, used) in &own {
        let Some((_, may, must_not)) = TABLE.iter().find(|(row, ..)| row == name) else {
            if !DEVELOPMENT.contains(&name.as_str()) {
                findings.push(format!("{name} has no row in the table"));
            }
            continue;
        };
        for other in used.iter().filter(|other| own.contains_key(*other)) {
            if !may.contains(&other.as_str()) {
                findings.push(format!("{name} uses {other}"));
            }
        }
        for banned in must_not.iter().filter(|banned| used.contains(**banned)) {
            findings.push(format!("{name} uses {banned} directly"));
        }
    }
    assert_none(&findings, "the crate table of ARCHITECTURE.md");
}

#[test]
fn folders_have_their_crates_names() {
    let metadata = metadata();
    let own = packages(&metadata)
        .iter()
        .filter(|package| package["source"].is_null());
    let findings: Vec<_> = own
        .filter(|package| {
            let folder = format!("/{}/Cargo.toml", text(package, "name"));
            !text(package, "manifest_path").ends_with(&folder)
        })
        .map(|package| text(package, "manifest_path").to_owned())
        .collect();
    assert_none(&findings, "folder name = crate name");
}

#[test]
fn licences_are_ones_that_we_ship() {
    let metadata = metadata();
    let findings: Vec<_> = packages(&metadata)
        .iter()
        .filter(|package| !licence_is_fine(text(package, "license")))
        .map(|package| format!("{}: {}", text(package, "name"), text(package, "license")))
        .collect();
    assert_none(&findings, "licences");
}

/// Of alternatives (`OR`, `/`) one must be ours, of a conjunction (`AND`) all.
fn licence_is_fine(expression: &str) -> bool {
    let plain = expression
        .replace(['(', ')'], " ")
        .replace(" WITH LLVM-exception", "");
    plain.split(" AND ").all(|part| {
        part.split(" OR ")
            .flat_map(|choice| choice.split('/'))
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn banned_crates_stay_out_and_sqlx_is_one_version() {
    let metadata = metadata();
    let mut findings = vec![];
    for package in packages(&metadata) {
        let name = text(package, "name");
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(format!("{name}: {why}"));
        }
        if name == "sqlx" && text(package, "version") != "0.8.6" {
            findings.push(format!(
                "sqlx {}: postgres-es 0.5 needs 0.8.6",
                text(package, "version")
            ));
        }
    }
    assert_none(&findings, "banned crates");
}
