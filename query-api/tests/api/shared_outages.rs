//! Redis or PostgreSQL is away: without Redis answers are as right as before, and without
//! PostgreSQL
//! Redis goes on serving.

use events::Partition;
use platform::admin::Health;
use testkit::{TestDatabase, eventually};
use uuid::Uuid;

use crate::app::{SOON, Setup, TestApp, user};
use crate::proxy::Proxy;
use crate::redis_writer::{RedisWriter, with_redis, with_redis_at};

/// More than the failures in a second that open the breaker.
const ASKING: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_every_answer_is_as_right_and_the_breaker_is_shown_and_not_failed() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    answers_without(port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_connections_and_never_answers_costs_its_budget_and_no_answer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    answers_without(silent.local_addr().expect("an address").port()).await;
}

async fn answers_without(port: u16) {
    let mut setup = with_redis_at(format!("redis://127.0.0.1:{port}/0"));
    setup
        .settings
        .extend([("REDIS_TIMEOUT", "30ms"), ("CACHE_L1_FRESH", "1ms")]);
    let app = TestApp::spawn_with(setup).await;
    let token = app.register(1).await;
    let headers = [("consistency-token", token.as_str())];
    let degraded = eventually(SOON, || async {
        app.get_with(&user(1), &headers).await.is_ok();
        // Nobody joins the read of a batch, so each of them asks Redis.
        let batch = format!("/v1/users?ids={}", Uuid::from_u128(1));
        let asking = (0..ASKING).map(|_| app.get_with(&batch, &headers));
        for reply in futures_util::future::join_all(asking).await {
            reply.is_ok();
        }
        let report = app.readiness.report().await;
        match &report.checks["query_redis"] {
            Health::Degraded(why) if why.contains("left alone") => Ok(report.ready),
            other => Err(other.clone()),
        }
    })
    .await;
    assert!(degraded, "an open breaker takes no traffic away");
    app.get(&user(1)).await.is_ok();
}

/// A proxy before the database, and the URL that leads through it.
async fn proxied(database: &TestDatabase) -> (Proxy, url::Url) {
    let mut url = url::Url::parse(&database.url()).expect("a URL");
    let (host, port) = (url.host_str().expect("a host"), url.port().unwrap_or(5432));
    let address = tokio::net::lookup_host((host, port))
        .await
        .expect("an address")
        .next();
    let proxy = Proxy::to(address.expect("an address")).await;
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.port)).expect("a port");
    (proxy, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_redis_serves_what_it_holds_marked_and_tokens_wait() {
    let database = TestDatabase::create().await;
    let (proxy, url) = proxied(&database).await;
    let through_proxy = || {
        let mut setup = with_redis();
        setup
            .settings
            .extend([("CACHE_L1_FRESH", "1ms"), ("DB_ACQUIRE_TIMEOUT", "3s")]);
        Setup {
            database_url: Some(url.to_string()),
            ..setup
        }
    };
    let app = TestApp::spawn_on(database, through_proxy()).await;
    let writer = RedisWriter::of(&app).await;
    for number in [1, 2, 3] {
        app.register(number).await;
    }
    for partition in 0..4 {
        writer.mark(Partition(partition), Some(writer.at(3))).await;
    }
    app.execute(
        "update event_store.partition_head set position = 3;
         update projection.checkpoint set position = 3",
    )
    .await;
    let fresh = app.get(&user(1)).await;
    app.get(&user(2)).await.is_ok();
    for number in [1, 2] {
        let key = writer.key(number);
        eventually(SOON, || async {
            writer.get(key.as_str()).await.ok_or("nothing")
        })
        .await;
    }
    // Another process that has read nobody yet, and knows the store.
    let other = app.spawn_beside(through_proxy()).await;
    eventually(SOON, || async {
        let report = other.readiness.report().await;
        if report.ready { Ok(()) } else { Err(report) }
    })
    .await;
    proxy.cut();
    for path in [user(1), format!("/v1/users?ids={}", Uuid::from_u128(2))] {
        let reply = other.get(&path).await;
        assert_eq!(reply.is_ok().header("runnel-stale"), "store_down", "{path}");
        assert_ne!(reply.header("consistency-token"), "", "{path}");
    }
    assert_eq!(other.get(&user(1)).await.text, fresh.is_ok().text);
    let token = fresh.header("consistency-token").to_owned();
    let refused = other
        .get_with(&user(1), &[("consistency-token", &token)])
        .await;
    refused.is_problem(503, "store_down");
    assert_eq!(refused.header("retry-after"), "1");
    other.get(&user(3)).await.is_problem(503, "store_down");
    proxy.mend();
    eventually(SOON, || async {
        let reply = other
            .get_with(&user(3), &[("consistency-token", &token)])
            .await;
        if reply.status == 200 {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
}
