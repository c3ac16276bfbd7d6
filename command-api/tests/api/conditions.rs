//! `If-Match`.

use serde_json::json;
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestStore, answer, user};

async fn rename(app: &TestApp, token: &str, id: Uuid, if_match: &str) -> Answer {
    let request = app.request("PATCH", &format!("/v1/users/{id}"), token);
    answer(
        request
            .header("If-Match", if_match)
            .json(&json!({ "name": "New" })),
    )
    .await
}

#[tokio::test]
async fn a_command_is_done_only_at_the_version_that_its_client_saw() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    rename(&app, &token, id, "\"v2\"")
        .await
        .expect(412, "version_mismatch");
    rename(&app, &token, id, "\"v1\"").await.expect(200, "");
    let refused = rename(&app, &token, id, "\"v1\"").await;
    let refused = refused.expect(412, "version_mismatch");
    assert_eq!(refused.header("etag"), Some("\"v2\""), "what is there");
    let detail = refused.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("\"v2\""), "{detail}");
    rename(&app, &token, id, "\"v2.3\"").await.expect(200, "");
    rename(&app, &token, id, "*").await.expect(200, "");
    assert_eq!(store.event_types().await.len(), 4);
}

/// After a promotion or a restore the server says other things of itself, and the first process
/// that starts begins the next incarnation. Version 2 of the one before is what a lost tail might
/// have had.
#[tokio::test]
async fn after_a_fork_a_tag_of_the_history_before_counts_only_for_what_survived() {
    let store = TestStore::create().await;
    let (token, id) = (store.admin(), Uuid::now_v7());
    let before = store.start(&[]);
    before.register(&token, id).await.expect(201, "");
    drop(before);
    sqlx::query("update event_store.incarnation set timeline = timeline + 1")
        .execute(&store.pool())
        .await
        .expect("another timeline");
    let app = store.start(&[]);
    let survived = rename(&app, &token, id, "\"v1.1\"").await;
    let survived = survived.expect(200, "");
    assert_eq!(survived.header("etag"), Some("\"v2.i2\""));
    for lost in ["\"v2\"", "\"v2.1\"", "\"v2.i3\"", "\"v1.i2\""] {
        rename(&app, &token, id, lost)
            .await
            .expect(412, "version_mismatch");
    }
    // One that loads what the other one wrote knows it, too.
    let other = store.start(&[]);
    for (lost, there) in [("\"v2\"", "\"v2.1.i2\""), ("\"v3\"", "\"v3.i2\"")] {
        let refused = rename(&other, &token, id, lost).await;
        refused.expect(412, "version_mismatch");
        rename(&other, &token, id, there).await.expect(200, "");
    }
}

#[tokio::test]
async fn a_condition_counts_only_where_the_command_would_have_succeeded() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    rename(&app, &token, id, "\"v1\"")
        .await
        .expect(404, "user_not_found");
    let register = app.request("POST", "/v1/users", &token).json(&user(id));
    answer(register.header("If-Match", "*"))
        .await
        .expect(412, "version_mismatch");
    assert!(store.event_types().await.is_empty());
}

#[tokio::test]
async fn a_condition_that_is_not_understood_is_refused_and_not_ignored() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    for wrong in ["v1", "W/\"v1\"", "\"1\"", "\"v1\", \"v2\""] {
        rename(&app, &token, id, wrong)
            .await
            .expect(400, "invalid_header");
    }
}

#[tokio::test]
async fn of_many_commands_at_one_version_exactly_one_is_done() {
    let store = TestStore::create().await;
    let (one, two) = (store.start(&[]), store.start(&[]));
    let (token, id) = (store.admin(), Uuid::now_v7());
    one.register(&token, id).await.expect(201, "");
    let (one, two, token) = (&one, &two, token.as_str());
    let tries = (0..16).map(|number| {
        let app = if number % 2 == 0 { one } else { two };
        rename(app, token, id, "\"v1\"")
    });
    let answers = futures_util::future::join_all(tries).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    let stale = answers
        .iter()
        .filter(|answer| answer.code() == (412, "version_mismatch"))
        .count();
    assert_eq!((done, stale), (1, 15));
}

#[tokio::test]
async fn a_refused_condition_tells_the_version_there_also_when_it_is_repeated_by_its_key() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    for replayed in [None, Some("true")] {
        let request = app
            .request("PATCH", &format!("/v1/users/{id}"), &token)
            .header("If-Match", "\"v9\"")
            .header("Idempotency-Key", "once");
        let refused = answer(request.json(&json!({ "name": "New" }))).await;
        let refused = refused.expect(412, "version_mismatch");
        assert_eq!(refused.header("etag"), Some("\"v1\""));
        assert_eq!(refused.header("idempotency-replayed"), replayed);
    }
}
