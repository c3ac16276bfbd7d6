//! What `runnel up` refuses, and that it says why before it has started anything.

use std::net::TcpListener;

use crate::process::TestHome;

#[tokio::test]
async fn a_second_one_in_the_same_home_refuses_and_names_the_first() {
    let home = TestHome::new();
    let first = home.up().await;
    let second = home.run(&["up"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains(&format!("pid {}", first.pid())), "{said}");
    assert!(said.contains(&home.told()["COMMAND_URL"]), "{said}");
    let (id, _) = home.register("Ada Lovelace").await;
    assert_eq!(home.read(id).await["name"], "Ada Lovelace");
    first.end("INT").await;
}

#[test]
fn a_taken_port_is_an_error_that_says_so_and_nothing_is_started() {
    let home = TestHome::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["COMMAND_LISTEN", "QUERY_LISTEN", "ADMIN_LISTEN"] {
        let ended = home
            .command(&["up"])
            .env(setting, &address)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("{setting}: {address} is taken")),
            "{said}"
        );
        assert!(!home.data().exists(), "a cluster was made");
    }
}

#[test]
fn wrong_settings_are_listed_all_at_once_with_exit_code_64_and_nothing_is_started() {
    let home = TestHome::new();
    let mut command = home.command(&["up", "--append-lanes", "none"]);
    command
        .env("HTTP_READ_TIMEOUT", "5")
        .env("STORE_PARTITIONS", "0")
        .env("TOKEN_WAIT", "1y");
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(64), "{said}");
    for setting in [
        "APPEND_LANES",
        "HTTP_READ_TIMEOUT",
        "STORE_PARTITIONS",
        "TOKEN_WAIT",
    ] {
        assert!(
            said.contains(&format!("\n  {setting}: ")),
            "{setting} in {said}"
        );
    }
    assert!(!home.data().exists(), "a cluster was made");
}

#[test]
fn production_needs_keys_of_its_own() {
    let home = TestHome::new();
    let ended = home
        .command(&["up"])
        .env("RUNNEL_ENV", "production")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(64), "{said}");
    assert!(
        said.contains("\n  SECRET_KEY: ") && said.contains("\n  JWKS: "),
        "{said}"
    );
}

#[test]
fn without_postgresql_it_says_what_to_do() {
    let home = TestHome::new();
    let ended = home
        .command(&["up"])
        .env("RUNNEL_POSTGRES_BIN", "/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no PostgreSQL 15 or later") && said.contains("make run"),
        "{said}"
    );
}
