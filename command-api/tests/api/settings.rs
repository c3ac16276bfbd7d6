//! Settings whose effect shows at no queue: how much is kept, and for how long.

use event_store::EventStore;
use serde_json::json;
use uuid::Uuid;

use crate::app::{TestApp, TestStore, answer, user};

#[tokio::test]
async fn cached_aggregates_take_a_tenth_of_memory_limit_unless_they_are_told_otherwise() {
    let store = TestStore::create().await;
    let limit = ("MEMORY_LIMIT", "1000MiB");
    let cache = |settings: &[(&str, &str)]| store.config(settings).command.aggregate_cache_max;
    assert_eq!(cache(&[limit]), 100 << 20);
    assert_eq!(cache(&[limit, ("AGGREGATE_CACHE_MAX", "3MiB")]), 3 << 20);
}

#[tokio::test]
async fn without_room_for_any_aggregate_every_command_is_decided_on_what_is_stored() {
    let store = TestStore::create().await;
    let app = store.start(&[("AGGREGATE_CACHE_MAX", "0B")]);
    let token = store.admin();
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        app.register(&token, *id).await.expect(201, "");
    }
    for version in 2..4 {
        for id in &ids {
            let path = format!("/v1/users/{id}");
            let request = app.request("PATCH", &path, &token);
            let rename = request.json(&json!({ "name": format!("Name {version}") }));
            let done = answer(rename).await.expect(200, "");
            assert_eq!(done.body["version"], json!(version));
        }
    }
}

async fn register_keyed(app: &TestApp, token: &str, id: Uuid) -> crate::app::Answer {
    let request = app.request("POST", "/v1/users", token);
    answer(request.header("Idempotency-Key", "k").json(&user(id))).await
}

#[tokio::test]
async fn an_answer_is_kept_for_outcome_retention_and_its_key_is_free_afterwards() {
    const HOURS_LEFT: &str = "
        select round(extract(epoch from expires_at - now()) / 3600)::bigint
        from event_store.command_outcome";
    const TWO_DAYS_LATER: &str =
        "update event_store.command_outcome set expires_at = expires_at - interval '49 hours'";
    let store = TestStore::create().await;
    let app = store.start(&[("OUTCOME_RETENTION", "48h")]);
    let (token, id, pool) = (store.admin(), Uuid::now_v7(), store.pool());
    let limits = answer(app.request("GET", "/v1/limits", &token)).await;
    assert_eq!(
        limits.body["idempotency_retention_seconds"],
        json!(48 * 3600)
    );
    register_keyed(&app, &token, id).await.expect(201, "");
    let hours: i64 = sqlx::query_scalar(HOURS_LEFT)
        .fetch_one(&pool)
        .await
        .expect("the outcome");
    assert_eq!(hours, 48);
    let again = register_keyed(&app, &token, id).await.expect(201, "");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));

    sqlx::query(TWO_DAYS_LATER)
        .execute(&pool)
        .await
        .expect("time passes");
    let events = EventStore::open(pool).await.expect("the store");
    assert_eq!(events.sweep_outcomes().await.expect("a sweep"), 1);
    let anew = register_keyed(&app, &token, id).await;
    let anew = anew.expect(409, "id_taken");
    assert_eq!(anew.header("idempotency-replayed"), None);
}
