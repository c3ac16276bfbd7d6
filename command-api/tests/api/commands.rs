//! Every route's happy path, and what each command is refused with.

use platform::auth::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::{TestStore, answer, user};

#[tokio::test]
async fn a_user_is_registered_and_the_answer_says_where_and_when_it_can_be_read() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let id = Uuid::now_v7();
    let answer = app.register(&store.admin(), id).await.expect(201, "");
    assert_eq!(answer.body, json!({ "id": id, "version": 1 }));
    assert_eq!(answer.header("etag"), Some("\"v1\""));
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/users/{id}").as_str())
    );
    let token = answer.header("consistency-token").expect("a token");
    let token: events::ConsistencyToken = token.parse().expect("a token");
    assert_eq!(token.entries()[0].address.position, 1);
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(store.event_types().await, ["UserRegistered"]);
}

#[tokio::test]
async fn without_an_id_an_admin_makes_a_new_user_and_a_user_registers_itself() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let body = json!({ "email": "a@example.org", "name": "A", "region": "eu", "bio": null });
    let made = app
        .post("/v1/users", &store.admin(), body)
        .await
        .expect(201, "");
    assert!(
        made.body["id"]
            .as_str()
            .is_some_and(|id| id.parse::<Uuid>().is_ok())
    );
    let me = Uuid::now_v7();
    let token = store.token("acme", &me.to_string(), Role::User);
    let body = json!({ "email": "b@example.org", "name": "B", "region": "eu" });
    let mine = app.post("/v1/users", &token, body).await.expect(201, "");
    assert_eq!(mine.body["id"], json!(me));
}

#[tokio::test]
async fn each_command_moves_its_user_one_version_on() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let steps = [
        (
            "PATCH",
            "",
            Some(json!({ "name": "Ada King", "bio": "analyst", "avatar_url": null })),
        ),
        ("PUT", "/email", Some(json!({ "email": "ada@example.com" }))),
        ("POST", "/activity", None),
        ("POST", "/deactivate", None),
        ("POST", "/reactivate", Some(json!({}))),
    ];
    for (step, (method, path, body)) in steps.into_iter().enumerate() {
        let request = app.request(method, &format!("/v1/users/{id}{path}"), &token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let version = step + 2;
        let answer = answer(request).await.expect(200, "");
        assert_eq!(answer.body, json!({ "id": id, "version": version }));
        assert_eq!(
            answer.header("etag"),
            Some(format!("\"v{version}\"").as_str())
        );
        assert_eq!(
            answer.header("location"),
            Some(format!("/v1/users/{id}").as_str())
        );
    }
    let expected = [
        "UserRegistered",
        "UserProfileUpdated",
        "UserEmailChanged",
        "UserActivityRecorded",
        "UserDeactivated",
        "UserReactivated",
    ];
    assert_eq!(store.event_types().await, expected);
}

#[tokio::test]
async fn a_command_that_changes_nothing_is_200_with_a_token_and_no_event() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    let registered = app.register(&token, id).await.expect(201, "");
    let path = format!("/v1/users/{id}");
    for (method, path, body) in [
        ("PATCH", path.clone(), json!({})),
        ("PATCH", path.clone(), json!({ "region": "eu-west" })),
        ("POST", format!("{path}/reactivate"), json!({})),
    ] {
        let answer = answer(app.request(method, &path, &token).json(&body))
            .await
            .expect(200, "");
        assert_eq!(answer.body["version"], json!(1));
        assert_eq!(
            answer.header("consistency-token"),
            registered.header("consistency-token")
        );
    }
    app.post(&format!("{path}/activity"), &token, json!({}))
        .await
        .expect(200, "");
    let again = app
        .post(&format!("{path}/activity"), &token, json!({}))
        .await
        .expect(200, "");
    assert_eq!(
        again.body["version"],
        json!(2),
        "at most one activity in five minutes"
    );
    assert_eq!(
        store.event_types().await,
        ["UserRegistered", "UserActivityRecorded"]
    );
}

#[tokio::test]
async fn each_refusal_has_its_code_and_leaves_nothing() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id, other) = (store.admin(), Uuid::now_v7(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    app.register(&token, id).await.expect(409, "id_taken");
    let mut same_address = user(other);
    same_address["email"] = user(id)["email"].clone();
    app.post("/v1/users", &token, same_address)
        .await
        .expect(409, "email_taken");
    app.register(&token, other).await.expect(201, "");
    let body = json!({ "email": user(id)["email"] });
    let change = app
        .request("PUT", &format!("/v1/users/{other}/email"), &token)
        .json(&body);
    answer(change).await.expect(409, "email_taken");

    app.post(&format!("/v1/users/{id}/deactivate"), &token, json!({}))
        .await
        .expect(200, "");
    let path = format!("/v1/users/{id}");
    let patch = app
        .request("PATCH", &path, &token)
        .json(&json!({ "name": "X" }));
    answer(patch).await.expect(409, "user_deactivated");
    let body = json!({ "email": "x@example.org" });
    let change = app
        .request("PUT", &format!("{path}/email"), &token)
        .json(&body);
    answer(change).await.expect(409, "user_deactivated");
    app.post(&format!("{path}/activity"), &token, json!({}))
        .await
        .expect(409, "user_deactivated");
    app.register(&token, id).await.expect(409, "id_taken");

    let unknown = format!("/v1/users/{}", Uuid::now_v7());
    let patch = app
        .request("PATCH", &unknown, &token)
        .json(&json!({ "name": "X" }));
    answer(patch).await.expect(404, "user_not_found");
    for verb in ["deactivate", "reactivate", "activity"] {
        let path = format!("{unknown}/{verb}");
        app.post(&path, &token, json!({}))
            .await
            .expect(404, "user_not_found");
    }
    let events = store.event_types().await;
    assert_eq!(
        events,
        ["UserRegistered", "UserRegistered", "UserDeactivated"]
    );
}

#[tokio::test]
async fn an_address_is_free_again_once_its_user_has_another() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id, other) = (store.admin(), Uuid::now_v7(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let body = json!({ "email": "new@example.org" });
    let change = app
        .request("PUT", &format!("/v1/users/{id}/email"), &token)
        .json(&body);
    answer(change).await.expect(200, "");
    let mut second = user(other);
    second["email"] = user(id)["email"].clone();
    app.post("/v1/users", &token, second).await.expect(201, "");
}
