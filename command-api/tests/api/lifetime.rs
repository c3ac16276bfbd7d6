//! A command runs to its end: past its client's reset and through a graceful shutdown.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use testkit::eventually;
use uuid::Uuid;

use crate::app::{TestStore, user};

/// Sends a whole registration and resets the connection without reading the answer.
fn send_and_reset(port: u16, token: &str, id: Uuid, wait: Duration) {
    let body = user(id).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let request = format!(
        "POST /v1/users HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .expect("the request is sent");
    std::thread::sleep(wait);
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a reset at close");
}

#[tokio::test]
async fn a_client_that_resets_its_connection_does_not_stop_its_command() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.admin();
    let locks = store.lock_heads().await;
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
    let clients = ids.iter().map(|id| {
        let (port, token, id) = (app.port, token.clone(), *id);
        tokio::task::spawn_blocking(move || {
            send_and_reset(port, &token, id, Duration::from_millis(200))
        })
    });
    for client in futures_util::future::join_all(clients).await {
        client.expect("the client");
    }
    assert!(store.event_types().await.is_empty());
    locks.rollback().await.expect("the locks are free");
    eventually(Duration::from_secs(30), || async {
        let types = store.event_types().await;
        if types.len() == ids.len() {
            Ok(())
        } else {
            Err(types.len())
        }
    })
    .await;
    assert_eq!(store.idle_in_transaction().await, 0);
    app.register(&token, Uuid::now_v7()).await.expect(201, "");
}

#[tokio::test]
async fn requests_that_are_dropped_at_any_moment_leave_no_session_in_a_transaction() {
    let store = TestStore::create().await;
    let app = store.start(&[("DB_POOL_COMMAND", "2")]);
    let token = store.admin();
    for round in 0..40 {
        let (port, token, id) = (app.port, token.clone(), Uuid::now_v7());
        let wait = Duration::from_micros(round * 100);
        let client = tokio::task::spawn_blocking(move || send_and_reset(port, &token, id, wait));
        client.await.expect("the client");
    }
    eventually(Duration::from_secs(30), || async {
        let idle = store.idle_in_transaction().await;
        if idle == 0 { Ok(()) } else { Err(idle) }
    })
    .await;
    app.register(&token, Uuid::now_v7()).await.expect(201, "");
}

#[tokio::test]
async fn a_shutdown_waits_for_a_command_whose_client_has_gone() {
    let store = TestStore::create().await;
    let mut app = store.start(&[]);
    let (port, token, id) = (app.port, store.admin(), Uuid::now_v7());
    let locks = store.lock_heads().await;
    let reset = move || send_and_reset(port, &token, id, Duration::from_millis(300));
    tokio::task::spawn_blocking(reset)
        .await
        .expect("the client");
    app.order_stop();
    locks.rollback().await.expect("the locks are free");
    app.stop().await;
    assert_eq!(store.event_types().await, ["UserRegistered"]);
}

#[tokio::test]
async fn a_shutdown_under_load_loses_no_answered_command_and_answers_every_accepted_one() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.admin();
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(hammer(app.url("/v1/users"), token.clone())))
        .collect();
    eventually(Duration::from_secs(30), || async {
        let count = store.event_types().await.len();
        if count > 50 { Ok(()) } else { Err(count) }
    })
    .await;
    app.stop().await;
    let mut acknowledged = vec![];
    for client in clients {
        acknowledged.extend(client.await.expect("a client"));
    }
    let stored: Vec<String> = sqlx::query_scalar("select aggregate_id from event_store.event")
        .fetch_all(&store.pool())
        .await
        .expect("ids");
    for id in &acknowledged {
        assert!(
            stored.contains(&id.to_string()),
            "{id} was answered 201 and is lost"
        );
    }
    assert!(acknowledged.len() > 50);
    let unanswered = stored.len() - acknowledged.len();
    assert_eq!(
        unanswered, 0,
        "commands that took effect and were not answered"
    );
}

/// Registers users until the server is gone; returns those that were answered 201.
async fn hammer(url: String, token: String) -> Vec<Uuid> {
    let client = reqwest::Client::new();
    let mut acknowledged = vec![];
    loop {
        let id = Uuid::now_v7();
        match client
            .post(&url)
            .bearer_auth(&token)
            .json(&user(id))
            .send()
            .await
        {
            Ok(response) => {
                assert_eq!(response.status(), 201, "{:?}", response.text().await);
                acknowledged.push(id);
            }
            Err(_) => return acknowledged,
        }
    }
}
