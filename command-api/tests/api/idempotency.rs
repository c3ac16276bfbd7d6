//! `Idempotency-Key`: one effect, one answer.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestStore, answer, user};

async fn keyed(app: &TestApp, token: &str, key: &str, body: &Value) -> Answer {
    let request = app
        .request("POST", "/v1/users", token)
        .header("Idempotency-Key", key);
    answer(request.json(body)).await
}

#[track_caller]
fn assert_replayed(first: &Answer, again: &Answer) {
    assert_eq!(
        again.header("idempotency-replayed"),
        Some("true"),
        "{}",
        again.body
    );
    assert_eq!(
        (first.status, first.lasting_body()),
        (again.status, again.lasting_body())
    );
    for header in ["consistency-token", "etag", "location"] {
        assert_eq!(first.header(header), again.header(header), "{header}");
    }
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_another_one_is_refused() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    let first = keyed(&app, &token, "k1", &user(id)).await.expect(201, "");
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = keyed(&app, &token, "k1", &user(id)).await;
    assert_replayed(&first, &again);
    keyed(&app, &token, "k1", &user(Uuid::now_v7()))
        .await
        .expect(422, "key_reused");
    keyed(&app, &token, "k2", &user(id))
        .await
        .expect(409, "id_taken");
    assert_eq!(store.event_types().await.len(), 1);
}

#[tokio::test]
async fn an_id_that_the_service_made_is_the_same_when_the_request_is_repeated() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let body = json!({ "email": "a@example.org", "name": "A", "region": "eu" });
    let first = keyed(&app, &store.admin(), "k", &body)
        .await
        .expect(201, "");
    let again = keyed(&app, &store.admin(), "k", &body).await;
    assert_replayed(&first, &again);
}

#[tokio::test]
async fn refusals_and_no_ops_are_remembered_too() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id, other) = (store.admin(), Uuid::now_v7(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let mut taken = user(other);
    taken["email"] = user(id)["email"].clone();
    let refused = keyed(&app, &token, "taken", &taken)
        .await
        .expect(409, "email_taken");
    let command = |verb: &str, key: &str| {
        let path = format!("/v1/users/{id}/{verb}");
        answer(
            app.request("POST", &path, &token)
                .header("Idempotency-Key", key),
        )
    };
    let no_op = command("reactivate", "no-op").await.expect(200, "");
    let unknown = format!("/v1/users/{other}/deactivate");
    let request = || {
        app.request("POST", &unknown, &token)
            .header("Idempotency-Key", "unknown")
    };
    let missing = answer(request()).await.expect(404, "user_not_found");

    // What made them so is over, and still the answers stand.
    let change = app.request("PUT", &format!("/v1/users/{id}/email"), &token);
    answer(change.json(&json!({ "email": "new@example.org" })))
        .await
        .expect(200, "");
    app.register(&token, other).await.expect(201, "");
    command("deactivate", "off").await.expect(200, "");
    assert_replayed(&refused, &keyed(&app, &token, "taken", &taken).await);
    assert_replayed(&no_op, &command("reactivate", "no-op").await);
    assert_replayed(&missing, &answer(request()).await);
}

#[tokio::test]
async fn a_key_belongs_to_one_route_and_one_principal() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    keyed(&app, &token, "k", &user(id)).await.expect(201, "");
    let path = format!("/v1/users/{id}/deactivate");
    let other_route = app
        .request("POST", &path, &token)
        .header("Idempotency-Key", "k");
    assert_eq!(
        answer(other_route)
            .await
            .expect(200, "")
            .header("idempotency-replayed"),
        None
    );
    let other = store.token("acme", "somebody-else", platform::auth::Role::Admin);
    keyed(&app, &other, "k", &user(id))
        .await
        .expect(409, "id_taken");
}

#[tokio::test]
async fn the_condition_is_part_of_the_request() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let rename = |if_match: &str| {
        let request = app.request("PATCH", &format!("/v1/users/{id}"), &token);
        let request = request
            .header("Idempotency-Key", "k")
            .header("If-Match", if_match);
        answer(request.json(&json!({ "name": "New" })))
    };
    let stale = rename("\"v7\"").await.expect(412, "version_mismatch");
    assert_replayed(&stale, &rename("\"v7\"").await);
    rename("\"v1\"").await.expect(422, "key_reused");
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    for wrong in ["", &"k".repeat(256)] {
        let answer = keyed(&app, &store.admin(), wrong, &user(Uuid::now_v7())).await;
        assert_eq!(
            answer.expect(400, "invalid_header").pointers(),
            ["Idempotency-Key"]
        );
    }
    let longest = "k".repeat(255);
    keyed(&app, &store.admin(), &longest, &user(Uuid::now_v7()))
        .await
        .expect(201, "");
    assert_eq!(store.event_types().await.len(), 1);
}

#[tokio::test]
async fn a_request_that_was_not_decided_leaves_its_key_free() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    keyed(&app, &token, "k", &json!({ "email": "nobody" }))
        .await
        .expect(422, "invalid_fields");
    keyed(&app, &token, "k", &user(id)).await.expect(201, "");
}

#[tokio::test]
async fn while_the_first_is_running_the_second_is_409_at_once() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    let locks = store.lock_heads().await;
    let first = {
        let request = app
            .request("POST", "/v1/users", &token)
            .header("Idempotency-Key", "k");
        tokio::spawn(answer(request.json(&user(id))))
    };
    store.someone_waits_for_a_lock().await;
    keyed(&app, &token, "k", &user(id))
        .await
        .expect(409, "request_in_flight");
    locks.rollback().await.expect("the locks are free");
    first.await.expect("the first").expect(201, "");
}

#[tokio::test]
async fn an_answer_is_remembered_across_a_restart() {
    let store = TestStore::create().await;
    let (token, id) = (store.admin(), Uuid::now_v7());
    let app = store.start(&[]);
    let first = keyed(&app, &token, "k", &user(id)).await.expect(201, "");
    app.stop().await;
    let app = store.start(&[]);
    assert_replayed(&first, &keyed(&app, &token, "k", &user(id)).await);
    assert_eq!(store.event_types().await.len(), 1);
}

#[tokio::test]
async fn nothing_of_the_request_is_kept() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let id = Uuid::now_v7();
    keyed(&app, &store.admin(), "k", &user(id))
        .await
        .expect(201, "");
    let stored: Vec<String> =
        sqlx::query_scalar("select command_outcome::text from event_store.command_outcome")
            .fetch_all(&store.pool())
            .await
            .expect("rows");
    assert_eq!(stored.len(), 1);
    for personal in ["example.org", "Ada", "Lovelace"] {
        assert!(!stored[0].contains(personal), "{}", stored[0]);
    }
}
