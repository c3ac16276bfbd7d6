//! The client against a small server whose behaviour is known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Load, Requests, Watched, at_rate, closed, each, shared_out};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

struct Same;

impl Requests for Same {
    fn next(&mut self) -> &[u8] {
        REQUEST
    }
}

/// What the n-th request is answered, of all connections together, and after which time.
type Script = fn(u32) -> (&'static str, Duration);

async fn serve(script: Script) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answered) = (listener.local_addr().unwrap(), Arc::default());
    let counted = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, script, Arc::clone(&counted)));
        }
    });
    (address, answered)
}

async fn answer(mut stream: TcpStream, script: Script, answered: Arc<AtomicU32>) {
    let mut request = vec![0; REQUEST.len()];
    while stream.read_exact(&mut request).await.is_ok() {
        let (status, after) = script(answered.fetch_add(1, Ordering::Relaxed));
        tokio::time::sleep(after).await;
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn load(address: SocketAddr, connections: usize) -> Load {
    Load {
        address,
        expected: 200,
        connections,
        warm_up: Duration::from_millis(100),
        time: Duration::from_secs(1),
    }
}

/// This process stands for everybody.
fn watched() -> Watched<'static> {
    Watched {
        server: std::process::id(),
        beside: &[],
        postmaster: std::process::id(),
        database: "none",
    }
}

#[test]
fn every_connection_is_some_threads() {
    let shares = shared_out(513, |number| number);
    let mut numbers: Vec<usize> = shares.into_iter().flat_map(|(_, of)| of).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..513).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_due_while_a_server_stalled_counts_from_when_it_was_due() {
    // Of 200 requests half are due in the half second for which both connections wait.
    let script = |number| match number {
        40 | 41 => ("200 OK", Duration::from_millis(500)),
        _ => ("200 OK", Duration::ZERO),
    };
    let (address, _) = serve(script).await;
    let measured = at_rate(&load(address, 2), 200.0, &watched(), |_| Same).await;
    let measured = measured.unwrap();
    assert!(measured.millis(0.9) > 300.0, "{}", measured.millis(0.9));
    assert!((measured.rate() - 200.0).abs() < 2.0, "{}", measured.rate());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_is_not_expected_fails_the_run() {
    let script = |number| match number {
        7 => ("500 Internal Server Error", Duration::ZERO),
        _ => ("200 OK", Duration::ZERO),
    };
    let (address, _) = serve(script).await;
    let failed = closed(&load(address, 2), &watched(), |_| Same).await;
    let error = failed.unwrap_err().to_string();
    assert!(error.starts_with("answered 500 instead of 200"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_be_there_before_is_asked_for_again_when_the_server_has_no_time() {
    let script = |number| match number {
        2 => ("503 Service Unavailable", Duration::ZERO),
        _ => ("200 OK", Duration::ZERO),
    };
    let (address, answered) = serve(script).await;
    let requests = vec![REQUEST.to_vec(); 10];
    each(&load(address, 3), requests).await.unwrap();
    assert_eq!(answered.load(Ordering::Relaxed), 11);
}
