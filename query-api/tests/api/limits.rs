//! Limits of memory, time and threads, met.

use std::time::Duration;

use futures_util::future::join_all;
use testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::{Setup, TestApp, config, user};
use crate::outages::spawn_with;

#[test]
fn the_cache_takes_a_quarter_of_memory_limit_up_to_a_gibibyte_unless_it_is_told_otherwise() {
    let cache = |settings: &[(&str, &str)]| {
        let config = config("postgres://u:p@localhost/x", "/keys.json", settings);
        config.query.cache_max
    };
    assert_eq!(cache(&[("MEMORY_LIMIT", "1000MiB")]), 250 << 20);
    assert_eq!(cache(&[("MEMORY_LIMIT", "64GiB")]), 1 << 30);
    let told = [("MEMORY_LIMIT", "64GiB"), ("CACHE_L1_MAX", "2GiB")];
    assert_eq!(cache(&told), 2 << 30);
}

/// How many of the users are served from memory while the database is away.
async fn kept(app: &TestApp, users: u128) -> usize {
    let paths: Vec<String> = (1..=users).map(user).collect();
    let replies = join_all(paths.iter().map(|path| app.get(path))).await;
    let stale = |reply: &&crate::app::Reply| reply.header("runnel-stale") == "store_down";
    let kept = replies.iter().filter(stale).count();
    for reply in replies.iter().filter(|reply| !stale(reply)) {
        reply.is_problem(503, "store_down");
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_keeps_no_more_than_cache_l1_max_and_what_it_let_go_is_read_again() {
    const USERS: u128 = 60;
    for (bytes, at_least, at_most) in [("0B", 0, 0), ("32KiB", 1, 30), ("64MiB", 60, 60)] {
        let (app, proxy) = spawn_with(&[("CACHE_L1_MAX", bytes)]).await;
        for number in 1..=USERS {
            app.register(number).await;
        }
        for _ in 0..2 {
            for number in 1..=USERS {
                let reply = app.get(&user(number)).await;
                assert_eq!(reply.is_ok().json()["version"], 1);
            }
        }
        proxy.cut();
        let kept = kept(&app, USERS).await;
        assert!(
            (at_least..=at_most).contains(&kept),
            "{kept} users in {bytes}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_served_no_longer_than_cache_stale_max() {
    let (app, proxy) = spawn_with(&[("CACHE_STALE_MAX", "4s")]).await;
    app.register(1).await;
    let path = user(1);
    app.get(&path).await.is_ok();
    app.get("/v1/users").await.is_ok();
    proxy.cut();
    for path in [path.as_str(), "/v1/users"] {
        eventually(Duration::from_secs(30), || async {
            let reply = app.get(path).await;
            if reply.status == 200 {
                assert_eq!(reply.header("runnel-stale"), "store_down");
                return Err("it is still served");
            }
            reply.is_problem(503, "store_down");
            Ok(())
        })
        .await;
    }
}

/// Asks for the limits over a connection that stays open.
async fn ask(app: &TestApp) -> TcpStream {
    let address = app.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = b"GET /v1/limits HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    stream
}

/// Whether an answer begins within the time.
async fn is_answered(stream: &mut TcpStream, within: Duration) -> bool {
    let first = tokio::time::timeout(within, stream.read_u8()).await;
    matches!(first, Ok(Ok(b'H')))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_worker_threads_holds_http_connections_max() {
    let settings = vec![("WORKER_THREADS", "3"), ("HTTP_CONNECTIONS_MAX", "1")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let mut held = Vec::new();
    for number in 1..=3 {
        let mut stream = ask(&app).await;
        let answered = is_answered(&mut stream, Duration::from_secs(20)).await;
        assert!(answered, "connection {number}");
        held.push(stream);
    }
    let mut waiting = ask(&app).await;
    let early = is_answered(&mut waiting, Duration::from_millis(500)).await;
    assert!(!early, "there are more than three threads");
    drop(held);
    assert!(is_answered(&mut waiting, Duration::from_secs(20)).await);
}
