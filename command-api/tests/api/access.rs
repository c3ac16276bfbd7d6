//! The table role × route, over HTTP: what it does not grant is refused.

use platform::auth::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::{TestApp, TestStore, answer, user};

/// Every route with a body that would be taken.
fn routes(id: Uuid) -> Vec<(&'static str, String, serde_json::Value)> {
    let path = format!("/v1/users/{id}");
    vec![
        ("POST", "/v1/users".to_owned(), user(id)),
        ("PATCH", path.clone(), json!({ "name": "New" })),
        (
            "PUT",
            format!("{path}/email"),
            json!({ "email": format!("{}@new.org", id.simple()) }),
        ),
        ("POST", format!("{path}/activity"), json!({})),
        ("POST", format!("{path}/deactivate"), json!({})),
        ("POST", format!("{path}/reactivate"), json!({})),
    ]
}

async fn codes(app: &TestApp, token: &str, id: Uuid) -> Vec<u16> {
    let mut codes = vec![];
    for (method, path, body) in routes(id) {
        let answer = answer(app.request(method, &path, token).json(&body)).await;
        codes.push(answer.status.as_u16());
    }
    codes
}

#[tokio::test]
async fn a_user_acts_for_itself_an_admin_for_anyone_and_an_operator_for_nobody() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (me, other) = (Uuid::now_v7(), Uuid::now_v7());
    let token = |sub: Uuid, role| store.token("acme", &sub.to_string(), role);
    let done = [201, 200, 200, 200, 200, 200];
    let refused = [403; 6];
    assert_eq!(codes(&app, &token(me, Role::User), other).await, refused);
    assert_eq!(codes(&app, &token(me, Role::User), me).await, done);
    assert_eq!(codes(&app, &token(me, Role::Operator), me).await, refused);
    assert_eq!(
        codes(&app, &token(me, Role::Operator), other).await,
        refused
    );
    assert_eq!(codes(&app, &token(me, Role::Admin), other).await, done);
    assert_eq!(store.event_types().await.len(), 12);
}

#[tokio::test]
async fn a_user_whose_sub_is_no_id_cannot_register() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.token("acme", "somebody", Role::User);
    let body = json!({ "email": "a@example.org", "name": "A", "region": "eu" });
    app.post("/v1/users", &token, body)
        .await
        .expect(403, "forbidden");
}

#[tokio::test]
async fn limits_and_documents_need_no_token_and_commands_do() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    for path in ["/v1/limits", "/openapi.json", "/docs/"] {
        let plain = reqwest::get(app.url(path)).await.expect("an answer");
        assert_eq!(plain.status(), 200, "{path}");
    }
    for (method, path, body) in routes(Uuid::now_v7()) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = reqwest::Client::new()
            .request(method, app.url(&path))
            .json(&body);
        answer(request).await.expect(401, "token_missing");
    }
}
