//! Bounded queues and deadlines: what a client is told when there is no room or no time, and that
//! nothing is lost by it.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use testkit::eventually;
use uuid::Uuid;

use crate::app::{Answer, TestStore, answer, user};

#[tokio::test]
async fn a_command_past_its_deadline_is_503_outcome_unknown_and_runs_to_its_end() {
    let store = TestStore::create().await;
    let app = store.start(&[("COMMAND_DEADLINE", "300ms")]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    let locks = store.lock_heads().await;
    let unknown = app
        .register(&token, id)
        .await
        .expect(503, "outcome_unknown");
    assert_eq!(unknown.header("retry-after"), Some("1"));
    assert!(store.event_types().await.is_empty());
    locks.rollback().await.expect("the locks are free");
    eventually(Duration::from_secs(30), || async {
        let types = store.event_types().await;
        if types == ["UserRegistered"] {
            Ok(())
        } else {
            Err(types)
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_mailbox_is_503_with_retry_after_and_those_inside_are_done() {
    let store = TestStore::create().await;
    let app = store.start(&[("STREAM_MAILBOX_MAX", "2")]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let locks = store.lock_heads().await;
    let rename = |number: usize| {
        let request = app.request("PATCH", &format!("/v1/users/{id}"), &token);
        tokio::spawn(answer(
            request.json(&json!({ "name": format!("Name {number}") })),
        ))
    };
    let tries: Vec<_> = (0..8).map(rename).collect();
    // One runs, two wait, five are refused at once, while nothing goes on.
    eventually(Duration::from_secs(20), || async {
        let refused = tries.iter().filter(|attempt| attempt.is_finished()).count();
        if refused == 5 { Ok(()) } else { Err(refused) }
    })
    .await;
    locks.rollback().await.expect("the locks are free");
    let (mut done, mut refused) = (0, 0);
    for attempt in tries {
        let answer: Answer = attempt.await.expect("an answer");
        match answer.code() {
            (200, _) => done += 1,
            (503, "queue_full") => {
                assert!(answer.header("retry-after").is_some());
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((done, refused), (3, 5));
    assert_eq!(store.event_types().await.len(), 4);
}

#[tokio::test]
async fn a_full_lane_is_503_with_retry_after_and_those_inside_are_done() {
    let store = TestStore::create().await;
    let bounds = [
        ("APPEND_LANES", "1"),
        ("APPEND_QUEUE_MAX", "2"),
        ("APPEND_BATCH_MAX", "1"),
    ];
    let app = store.start(&bounds);
    let token = store.admin();
    app.register(&token, Uuid::now_v7()).await.expect(201, "");
    let locks = store.lock_heads().await;
    let register = |_| {
        let request = app.request("POST", "/v1/users", &token);
        tokio::spawn(answer(request.json(&user(Uuid::now_v7()))))
    };
    let tries: Vec<_> = (0..10).map(register).collect();
    eventually(Duration::from_secs(20), || async {
        let refused = tries.iter().filter(|attempt| attempt.is_finished()).count();
        if refused >= 6 { Ok(()) } else { Err(refused) }
    })
    .await;
    locks.rollback().await.expect("the locks are free");
    let answers = futures_util::future::join_all(tries).await;
    let answers: Vec<Answer> = answers
        .into_iter()
        .map(|answer| answer.expect("an answer"))
        .collect();
    let done = answers.iter().filter(|answer| answer.status == 201).count();
    let full = answers
        .iter()
        .filter(|answer| answer.code() == (503, "queue_full"))
        .count();
    assert_eq!(done + full, 10);
    assert!(done >= 3 && full >= 6, "{done} done, {full} refused");
    assert_eq!(store.event_types().await.len(), done + 1);
}

#[tokio::test]
async fn without_its_database_a_command_is_503_and_afterwards_it_is_done() {
    let store = TestStore::create().await;
    let app = store.start(&[("DB_ACQUIRE_TIMEOUT", "500ms")]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let name = sqlx::query_scalar("select current_database()")
        .fetch_one(&store.pool())
        .await;
    let name: String = name.expect("a name");
    let server = testkit::servers::postgres_url();
    let mut server = PgConnection::connect(&server).await.expect("a connection");
    let gate = |open: bool| format!("alter database {name} allow_connections {open}");
    server
        .execute(gate(false).as_str())
        .await
        .expect("the gate is shut");
    let cut =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
    server
        .execute(cut.as_str())
        .await
        .expect("the sessions are cut");
    let body = json!({ "name": "New" });
    let rename = || {
        answer(
            app.request("PATCH", &format!("/v1/users/{id}"), &token)
                .json(&body),
        )
    };
    let refused = rename().await.expect(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    server
        .execute(gate(true).as_str())
        .await
        .expect("the gate is open");
    let done = eventually(Duration::from_secs(20), || async {
        let answer = rename().await;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(answer.status)
        }
    });
    assert_eq!(done.await.body["version"], json!(2));
}

/// SQLSTATE 55P03 twice: the lane's first and second try wait three seconds each.
#[tokio::test]
async fn a_head_that_stays_locked_is_503_after_a_second_try_and_nothing_is_left() {
    let store = TestStore::create().await;
    let app = store.start(&[("COMMAND_DEADLINE", "60s")]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    let locks = store.lock_heads().await;
    let begun = Instant::now();
    let refused = app.register(&token, id).await.expect(503, "unavailable");
    assert!(
        begun.elapsed() >= Duration::from_secs(5),
        "it was tried once only: {:?}",
        begun.elapsed()
    );
    assert!(refused.header("retry-after").is_some());
    locks.rollback().await.expect("the locks are free");
    assert!(store.event_types().await.is_empty());
    app.register(&token, id).await.expect(201, "");
}
