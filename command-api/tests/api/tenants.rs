//! Two tenants with the same ids and the same addresses never meet.

use platform::auth::Role;
use serde_json::json;
use sqlx::Row;
use uuid::Uuid;

use crate::app::{TestStore, answer};

#[tokio::test]
async fn the_same_id_and_the_same_address_live_in_two_tenants_and_do_not_meet() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let id = Uuid::now_v7();
    let tokens = ["acme", "beta"].map(|tenant| store.token(tenant, "tests", Role::Admin));
    for token in &tokens {
        app.register(token, id).await.expect(201, "");
    }
    let path = format!("/v1/users/{id}");
    let deactivate = format!("{path}/deactivate");
    app.post(&deactivate, &tokens[0], json!({}))
        .await
        .expect(200, "");
    let rename = |token: &str| {
        app.request("PATCH", &path, token)
            .json(&json!({ "name": "New" }))
    };
    answer(rename(&tokens[0]))
        .await
        .expect(409, "user_deactivated");
    let other = answer(rename(&tokens[1])).await.expect(200, "");
    assert_eq!(other.body["version"], json!(2));
    let rows =
        sqlx::query("select tenant_id, count(*) from event_store.event group by 1 order by 1")
            .fetch_all(&store.pool())
            .await
            .expect("rows");
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, [("acme".to_owned(), 2), ("beta".to_owned(), 2)]);
}

#[tokio::test]
async fn another_tenants_user_is_404_and_its_idempotency_keys_are_not_mine() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (mine, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let acme = store.token("acme", "tests", Role::Admin);
    let beta = store.token("beta", "tests", Role::Admin);
    let keyed = |token: &str, id: Uuid| {
        let request = app
            .request("POST", "/v1/users", token)
            .header("Idempotency-Key", "one");
        request.json(&crate::app::user(id))
    };
    answer(keyed(&acme, mine)).await.expect(201, "");
    let other = answer(keyed(&beta, theirs)).await.expect(201, "");
    assert_eq!(other.header("idempotency-replayed"), None);
    let path = format!("/v1/users/{mine}");
    let patch = app
        .request("PATCH", &path, &beta)
        .json(&json!({ "name": "New" }));
    answer(patch).await.expect(404, "user_not_found");
    app.post(&format!("{path}/deactivate"), &beta, json!({}))
        .await
        .expect(404, "user_not_found");
}
