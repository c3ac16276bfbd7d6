//! Limits of connections: how many, how long they may do nothing, how slow a reader may be.

use std::time::{Duration, Instant};

use super::app::{App, LARGE};
use super::wire::Wire;

const GET: &str = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_head_that_takes_longer_than_http_head_timeout_closes_the_connection() {
    let app = App::with(|http| http.head_timeout = Duration::from_millis(300)).await;
    let started = Instant::now();
    let mut wire = Wire::connect(app.port).await;
    wire.send("GET /hello HTTP/1.1\r\nhost:").await;
    assert!(
        wire.read_to_end(Duration::from_secs(5)).await.is_some(),
        "still open"
    );
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_http_keep_alive() {
    let app = App::with(|http| http.keep_alive = Duration::from_millis(500)).await;
    let mut wire = Wire::connect(app.port).await;
    wire.send(GET).await;
    assert_eq!(wire.answer().await.status, 200);
    wire.send(GET).await;
    assert_eq!(wire.answer().await.status, 200);
    assert!(
        wire.read_to_end(Duration::from_secs(5)).await.is_some(),
        "still open"
    );
}

#[tokio::test]
async fn connections_over_http_connections_max_wait_until_one_is_closed() {
    let app = App::with(|http| http.connections_max = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(app.port).await;
        wire.send(GET).await;
        assert_eq!(wire.answer().await.status, 200);
        held.push(wire);
    }
    let mut third = Wire::connect(app.port).await;
    third.send(GET).await;
    let early = tokio::time::timeout(Duration::from_millis(500), third.answer()).await;
    assert!(early.is_err(), "a third connection was served: {early:?}");
    drop(held);
    let late = tokio::time::timeout(Duration::from_secs(5), third.answer()).await;
    assert_eq!(late.expect("the waiting connection is served").status, 200);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_http_write_timeout_is_cut_off() {
    let app = App::with(|http| http.write_timeout = Duration::from_secs(1)).await;
    let mut wire = Wire::connect(app.port).await;
    wire.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let before = Instant::now();
    // Nothing is read meanwhile: the client's window closes, and the server's kernel gives up.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let text = wire
        .read_to_end(Duration::from_secs(10))
        .await
        .expect("the connection is closed");
    assert!(
        text.len() < LARGE,
        "all of it arrived after {:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn a_graceful_stop_finishes_what_runs_and_accepts_nothing_new() {
    let app = App::spawn().await;
    let mut wire = Wire::connect(app.port).await;
    wire.send("POST /notes HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\n{\"text\"")
        .await;
    let mut ready = Wire::connect(app.port).await;
    ready.send(GET).await;
    ready.answer().await;
    let (answer, ()) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            wire.send(":\"late\"}").await;
            wire.answer().await
        },
        app.stop(),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", app.port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_after_shutdown_grace() {
    // The API of these tests has a grace of one second.
    let app = App::with(|http| http.write_timeout = Duration::from_secs(60)).await;
    let mut wire = Wire::connect(app.port).await;
    wire.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    wire.answer_begins().await;
    let started = Instant::now();
    let stopped = tokio::time::timeout(Duration::from_secs(20), app.stop()).await;
    let took = started.elapsed();
    assert!(stopped.is_ok(), "it waits for its reader");
    assert!(took >= Duration::from_millis(900), "cut off after {took:?}");
}

#[tokio::test]
async fn work_gets_its_grace_and_no_more() {
    use platform::shutdown::finish_within;
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
    assert!(finish_within("quick", long, async {}).await);
    assert!(!finish_within("endless", short, std::future::pending()).await);
}
