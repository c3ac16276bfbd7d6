//! PostgreSQL is unreachable: what is kept is served, marked; the rest is 503 and heals by itself.

use std::time::{Duration, Instant};

use platform::admin::Health;
use testkit::history::active;
use testkit::{TestDatabase, eventually};
use uuid::Uuid;

use crate::app::{Setup, TestApp, acme, user};
use crate::proxy::Proxy;

/// A process that reaches its database through a proxy.
async fn spawn() -> (TestApp, Proxy) {
    spawn_with(&[]).await
}

/// The same with other settings.
pub(crate) async fn spawn_with(changes: &[(&'static str, &'static str)]) -> (TestApp, Proxy) {
    let (database, url, proxy) = behind_a_proxy().await;
    let mut settings = vec![("CACHE_L1_FRESH", "1ms"), ("DB_ACQUIRE_TIMEOUT", "3s")];
    settings.extend(changes);
    let setup = Setup {
        settings,
        database_url: Some(url),
        ..Setup::default()
    };
    (TestApp::spawn_on(database, setup).await, proxy)
}

/// A database, and its URL through a proxy.
pub(crate) async fn behind_a_proxy() -> (TestDatabase, String, Proxy) {
    let database = TestDatabase::create().await;
    let mut url = url::Url::parse(&database.url()).expect("a URL");
    let (host, port) = (
        url.host_str().expect("a host").to_owned(),
        url.port().unwrap_or(5432),
    );
    let server = tokio::net::lookup_host((host, port))
        .await
        .expect("an address")
        .next();
    let proxy = Proxy::to(server.expect("an address")).await;
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.port)).expect("a port");
    (database, url.to_string(), proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_down_kept_answers_are_served_marked_and_it_heals() {
    let (app, proxy) = spawn().await;
    let token = app.register(1).await;
    app.register(2).await;
    let list = "/v1/users?region=eu-west";
    let kept = [
        user(1),
        format!("/v1/users?ids={}", Uuid::from_u128(1)),
        list.to_owned(),
    ];
    let mut bodies = Vec::new();
    for path in &kept {
        bodies.push(
            app.get_with(path, &[("consistency-token", &token)])
                .await
                .is_ok()
                .text
                .clone(),
        );
    }
    proxy.cut();
    for (path, body) in kept.iter().zip(&bodies) {
        let reply = app.get(path).await;
        assert_eq!(reply.is_ok().header("runnel-stale"), "store_down", "{path}");
        assert_eq!(reply.text, *body);
        assert_ne!(reply.header("consistency-token"), "");
    }
    // A token, and what is not kept: nobody can say.
    for (path, headers) in [
        (user(1), vec![("consistency-token", token.as_str())]),
        (user(2), vec![]),
        (user(3), vec![]),
        ("/v1/users".to_owned(), vec![]),
    ] {
        let begun = Instant::now();
        let reply = app.get_with(&path, &headers).await;
        reply.is_problem(503, "store_down");
        assert_eq!(reply.header("retry-after"), "1");
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{path}: {:?}",
            begun.elapsed()
        );
    }
    let report = app.readiness.report().await;
    assert!(
        matches!(report.checks["query_database"], Health::Failed(_)),
        "{report:?}"
    );

    let later = app.happen(&acme(), Uuid::from_u128(1), &active(1)).await;
    proxy.mend();
    eventually(Duration::from_secs(15), || async {
        let reply = app
            .get_with(&user(1), &[("consistency-token", &later)])
            .await;
        if reply.status == 200 {
            Ok(reply)
        } else {
            Err(reply)
        }
    })
    .await;
    let reply = app.get(&user(1)).await;
    assert_eq!(
        (reply.header("runnel-stale"), &reply.json()["version"]),
        ("", &2.into())
    );
    assert!(app.readiness.report().await.ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_starts_while_the_store_is_down() {
    let database = TestDatabase::create().await;
    let port = testkit::spare_port();
    let setup = Setup {
        settings: vec![("DB_ACQUIRE_TIMEOUT", "300ms")],
        database_url: Some(format!("postgres://runnel:x@127.0.0.1:{port}/runnel")),
        ..Setup::default()
    };
    let app = TestApp::spawn_on(database, setup).await;
    for path in [user(1), "/v1/users".to_owned()] {
        app.get(&path).await.is_problem(503, "store_down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_past_its_deadline_is_503() {
    let settings = vec![
        ("READ_DEADLINE", "200ms"),
        ("DB_STATEMENT_TIMEOUT", "30s"),
        ("DB_LOCK_TIMEOUT", "30s"),
    ];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    let mut holder = app.begin().await;
    let lock = "lock table read_model.user_view_g1 in access exclusive mode";
    sqlx::raw_sql(lock)
        .execute(&mut *holder)
        .await
        .expect("a lock");
    app.get(&user(1)).await.is_problem(503, "deadline_exceeded");
    holder.rollback().await.expect("the lock's end");
    eventually(Duration::from_secs(10), || async {
        let reply = app.get(&user(1)).await;
        if reply.status == 200 {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
}
