//! Start, stop, kill, start again: the data stays.

use sqlx::{Connection as _, PgConnection};

use crate::process::{TestHome, is_private, runs_as_root, signal};

/// Partition, owner and epoch of every lease.
async fn leases(home: &TestHome) -> Vec<(i32, Option<uuid::Uuid>, i64)> {
    let url = &home.told()["DATABASE_URL"];
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let leases = "select partition, owner, epoch from projection.lease order by partition";
    let leases = sqlx::query_as(leases).fetch_all(&mut connection).await;
    leases.expect("the leases")
}

#[tokio::test]
async fn what_was_registered_is_read_back_and_stays_after_a_clean_stop() {
    let home = TestHome::new();
    let up = home.up().await;
    assert!(is_private(&home.path().join("env")) && is_private(&home.path().join("token")));
    let (id, _) = home.register("Ada Lovelace").await;
    assert_eq!(home.read(id).await["name"], "Ada Lovelace");

    // The greeting alone is on standard output; the log says in one line who feeds the view.
    let shown = up.shown();
    assert!(shown.trim_start().starts_with("Runnel is up."), "{shown}");
    assert!(!shown.contains("\"level\""), "{shown}");
    let fed = up.said().matches("feeding 16 of 16 partitions").count();
    assert_eq!(fed, 1, "{}", up.said());
    assert!(
        !up.said().contains("sqlx::postgres::notice"),
        "{}",
        up.said()
    );

    let (status, said) = up.end("INT").await;
    assert!(status.success(), "{said}");
    assert!(said.contains("Runnel has stopped"), "{said}");
    assert_eq!(home.postmaster(), None, "PostgreSQL was left running");
    assert!(
        !home.path().join("env").exists(),
        "the file names a database that is gone"
    );

    let up = home.up().await;
    assert_eq!(home.read(id).await["name"], "Ada Lovelace");
    let (status, said) = up.end("TERM").await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn after_kill_9_the_next_start_adopts_the_orphaned_server() {
    let home = TestHome::new();
    let up = home.up().await;
    let (id, _) = home.register("Grace Hopper").await;
    assert_eq!(home.read(id).await["name"], "Grace Hopper");
    let server = home.postmaster().expect("a running server");
    let leases = leases(&home).await;
    up.end("KILL").await;
    assert_eq!(
        home.postmaster(),
        Some(server),
        "the server should outlive its parent"
    );

    let up = home.up().await;
    assert_eq!(home.postmaster(), Some(server), "{}", up.said());
    assert!(up.said().contains("adopted"), "{}", up.said());
    assert_eq!(home.read(id).await["name"], "Grace Hopper");
    let (next, _) = home.register("Hedy Lamarr").await;
    assert_eq!(home.read(next).await["name"], "Hedy Lamarr");
    // A lease that had to run out first would have been taken anew, with another epoch.
    assert_eq!(self::leases(&home).await, leases);
    let (status, said) = up.end("INT").await;
    assert!(status.success(), "{said}");
    assert_eq!(
        home.postmaster(),
        None,
        "the adopted server was left running"
    );
}

#[tokio::test]
async fn after_kill_9_of_both_the_next_start_recovers_the_cluster() {
    let home = TestHome::new();
    let up = home.up().await;
    let (id, _) = home.register("Radia Perlman").await;
    let server = home.postmaster().expect("a running server");
    signal("KILL", server);
    up.end("KILL").await;

    let up = home.up().await;
    assert!(up.said().contains("recovered"), "{}", up.said());
    assert_eq!(home.read(id).await["name"], "Radia Perlman");
    let (status, said) = up.end("INT").await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn a_server_that_dies_alone_is_started_again_and_everything_heals() {
    let home = TestHome::new();
    let up = home.up().await;
    let (before, _) = home.register("Barbara Liskov").await;
    let server = home.postmaster().expect("a running server");
    signal("KILL", server);
    testkit::eventually(std::time::Duration::from_secs(60), || async {
        match home.postmaster() {
            Some(pid) if pid != server => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let (after, _) = home.register("Shafi Goldwasser").await;
    assert_eq!(home.read(before).await["name"], "Barbara Liskov");
    assert_eq!(home.read(after).await["name"], "Shafi Goldwasser");
    let (status, said) = up.end("INT").await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn a_home_that_the_servers_account_cannot_enter_gets_its_cluster_elsewhere() {
    let home = TestHome::closed();
    let up = home.up().await;
    let inside = home.data().exists();
    assert_eq!(inside, !runs_as_root(), "{}", up.said());
    let elsewhere = format!(
        "/var/lib/runnel/{}",
        home.path()
            .display()
            .to_string()
            .trim_start_matches('/')
            .replace('/', "-")
    );
    assert_eq!(
        up.said().contains(&elsewhere),
        runs_as_root(),
        "{}",
        up.said()
    );
    let (status, said) = up.end("INT").await;
    assert!(status.success(), "{said}");
    if runs_as_root() {
        std::fs::remove_dir_all(elsewhere).unwrap();
    }
}
