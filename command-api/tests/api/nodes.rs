//! Two command APIs on one store.

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::app::{Answer, TestStore, answer, user};

#[tokio::test]
async fn the_same_key_on_two_nodes_at_once_has_one_effect_and_one_answer() {
    let store = TestStore::create().await;
    let nodes = [store.start(&[]), store.start(&[])];
    let token = store.admin();
    for round in 0..20 {
        let (id, key) = (Uuid::now_v7(), format!("round-{round}"));
        let send = |node: usize| {
            let request = nodes[node].request("POST", "/v1/users", &token);
            answer(request.header("Idempotency-Key", &key).json(&user(id)))
        };
        let (one, two) = tokio::join!(send(0), send(1));
        assert_eq!((one.code(), two.code()), ((201, ""), (201, "")));
        assert_eq!(one.lasting_body(), two.lasting_body());
        assert_eq!(
            one.header("consistency-token"),
            two.header("consistency-token")
        );
        let replayed = [&one, &two].map(|answer| answer.header("idempotency-replayed").is_some());
        assert_eq!(replayed.iter().filter(|replayed| **replayed).count(), 1);
    }
    assert_eq!(store.event_types().await.len(), 20);
}

#[tokio::test]
async fn of_a_hundred_registrations_of_one_address_exactly_one_is_made() {
    let store = TestStore::create().await;
    let nodes = [store.start(&[]), store.start(&[])];
    let token = store.admin();
    let register = |number: usize| {
        let mut body = user(Uuid::now_v7());
        body["email"] = json!("Wanted@Example.org");
        answer(
            nodes[number % 2]
                .request("POST", "/v1/users", &token)
                .json(&body),
        )
    };
    let answers = join_all((0..100).map(register)).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let taken = answers
        .iter()
        .filter(|answer| answer.code() == (409, "email_taken"))
        .count();
    let codes: std::collections::BTreeSet<_> = answers.iter().map(Answer::code).collect();
    assert_eq!((made, taken), (1, 99), "{codes:?}");
    assert_eq!(store.event_types().await.len(), 1);
}

#[tokio::test]
async fn of_many_registrations_of_one_id_exactly_one_is_made() {
    let store = TestStore::create().await;
    let nodes = [store.start(&[]), store.start(&[])];
    let (token, id) = (store.admin(), Uuid::now_v7());
    let register = |number: usize| {
        let mut body = user(id);
        body["email"] = json!(format!("u{number}@example.org"));
        answer(
            nodes[number % 2]
                .request("POST", "/v1/users", &token)
                .json(&body),
        )
    };
    let answers = join_all((0..20).map(register)).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let taken = answers
        .iter()
        .filter(|answer| answer.code() == (409, "id_taken"))
        .count();
    assert_eq!((made, taken), (1, 19));
}

#[tokio::test]
async fn what_a_stale_node_takes_for_a_no_op_is_decided_again() {
    let store = TestStore::create().await;
    let (stale, other) = (store.start(&[]), store.start(&[]));
    let (token, id) = (store.admin(), Uuid::now_v7());
    // The node has the user in its cache: active, so that reactivating it changes nothing.
    stale.register(&token, id).await.expect(201, "");
    let path = |verb: &str| format!("/v1/users/{id}/{verb}");
    other
        .post(&path("deactivate"), &token, json!({}))
        .await
        .expect(200, "");
    let answer = stale
        .post(&path("reactivate"), &token, json!({}))
        .await
        .expect(200, "");
    assert_eq!(answer.body["version"], json!(3));
    // The same with refusals: each node in turn has a state that is one step behind.
    other
        .post(&path("activity"), &token, json!({}))
        .await
        .expect(200, "");
    stale
        .post(&path("deactivate"), &token, json!({}))
        .await
        .expect(200, "");
    other
        .post(&path("activity"), &token, json!({}))
        .await
        .expect(409, "user_deactivated");
    stale
        .post(&path("reactivate"), &token, json!({}))
        .await
        .expect(200, "");
    let expected = [
        "UserRegistered",
        "UserDeactivated",
        "UserReactivated",
        "UserActivityRecorded",
        "UserDeactivated",
        "UserReactivated",
    ];
    assert_eq!(store.event_types().await, expected);
}

#[tokio::test]
async fn a_stale_node_that_knows_of_no_user_asks_again_before_it_says_404() {
    let store = TestStore::create().await;
    let (stale, other) = (store.start(&[]), store.start(&[]));
    let (token, id) = (store.admin(), Uuid::now_v7());
    let path = format!("/v1/users/{id}/deactivate");
    stale
        .post(&path, &token, json!({}))
        .await
        .expect(404, "user_not_found");
    other.register(&token, id).await.expect(201, "");
    stale.post(&path, &token, json!({})).await.expect(200, "");
}

#[tokio::test]
async fn commands_on_one_user_from_two_nodes_are_all_done_and_none_twice() {
    let store = TestStore::create().await;
    let nodes = [store.start(&[]), store.start(&[])];
    let (token, id) = (store.admin(), Uuid::now_v7());
    nodes[0].register(&token, id).await.expect(201, "");
    let path = format!("/v1/users/{id}");
    let rename = |number: usize| {
        let body = json!({ "name": format!("Name {number}") });
        answer(
            nodes[number % 2]
                .request("PATCH", &path, &token)
                .json(&body),
        )
    };
    let answers = join_all((0..40).map(rename)).await;
    let mut versions: Vec<i64> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.body["version"].as_i64().expect("a version"))
        .collect();
    let undone = answers
        .iter()
        .filter(|answer| answer.code() == (503, "unavailable"))
        .count();
    assert_eq!(
        versions.len() + undone,
        40,
        "done, or contended six times in a row"
    );
    versions.sort_unstable();
    let dense: Vec<i64> = (2..).take(versions.len()).collect();
    assert_eq!(versions, dense);
    assert_eq!(store.event_types().await.len(), versions.len() + 1);
}
