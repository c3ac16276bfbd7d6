//! `runnel keys` and `runnel token` as processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

fn runnel(home: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runnel"));
    command
        .args(arguments)
        .env("RUNNEL_HOME", home)
        .output()
        .unwrap()
}

#[test]
fn a_token_needs_keys_and_says_which_command_makes_them() {
    let home = tempfile::tempdir().unwrap();
    let without = runnel(home.path(), &["token"]);
    let said = String::from_utf8_lossy(&without.stderr);
    assert_eq!(without.status.code(), Some(1));
    assert!(said.contains("runnel keys"), "{said}");
    assert!(runnel(home.path(), &["keys"]).status.success());
    let token = runnel(home.path(), &["token"]);
    assert_eq!(
        String::from_utf8(token.stdout)
            .unwrap()
            .trim()
            .split('.')
            .count(),
        3
    );
}

#[test]
fn many_tokens_go_to_a_private_file_each_for_somebody_else() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tokens");
    runnel(home.path(), &["keys"]);
    let ended = runnel(
        home.path(),
        &["token", "--count", "50", "--out", file.to_str().unwrap()],
    );
    assert!(ended.status.success() && ended.stdout.is_empty());
    let text = std::fs::read_to_string(&file).unwrap();
    let tokens: HashSet<&str> = text.lines().collect();
    assert_eq!(tokens.len(), 50);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn wrong_flags_are_listed_all_at_once() {
    let home = tempfile::tempdir().unwrap();
    let arguments = [
        "token", "--role", "king", "--ttl", "12", "--count", "0", "--tenant", "A b",
    ];
    let ended = runnel(home.path(), &arguments);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(64), "{said}");
    for flag in ["--role", "--ttl", "--count", "--tenant"] {
        assert!(said.contains(&format!("\n  {flag}: ")), "{flag} in {said}");
    }
}
