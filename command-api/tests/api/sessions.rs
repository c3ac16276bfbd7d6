//! Sessions that PostgreSQL ends while nobody uses them, as its restart does.

use serde_json::json;
use uuid::Uuid;

use crate::app::{TestStore, answer};

/// Waits up to 5 s for each to be gone.
const END_ALL: &str = "
    select count(*) filter (where pg_terminate_backend(pid, 5000)) from pg_stat_activity
    where datname = current_database() and application_name = 'runnel/command'";

#[tokio::test]
async fn no_command_fails_over_sessions_that_ended_while_they_were_idle() {
    let store = TestStore::create().await;
    let token = store.admin();
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    let other = store.start(&[]);
    for id in &ids {
        other.register(&token, *id).await.expect(201, "");
    }
    other.stop().await;

    // It has none of them in memory.
    let app = store.start(&[]);
    for (round, id) in ids.iter().enumerate() {
        let ended: i64 = sqlx::query_scalar(END_ALL)
            .fetch_one(&store.pool())
            .await
            .expect("a count");
        assert!(ended > 0, "there were none to end");
        let mut request = app
            .request("PATCH", &format!("/v1/users/{id}"), &token)
            .json(&json!({ "name": "Grace Hopper" }));
        // Every second one meets them at its key, the others at the load.
        if round % 2 == 0 {
            request = request.header("Idempotency-Key", format!("round-{round}"));
        }
        answer(request).await.expect(200, "");
    }
}
