//! Bad input gets a clear problem and loses nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestStore, answer, user};

async fn raw(app: &TestApp, token: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.request("POST", "/v1/users", token);
    answer(
        request
            .header("Content-Type", "application/json")
            .body(body),
    )
    .await
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named_at_once() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let body = json!({
        "id": "not-an-id",
        "email": "nobody",
        "region": "EU West",
        "bio": "x".repeat(501),
        "avatar_url": "http://example.org/a.png",
        "admin": true,
        "é/~": 1,
    });
    let answer = app
        .post("/v1/users", &store.admin(), body)
        .await
        .expect(422, "invalid_fields");
    let expected = [
        "/admin",
        "/avatar_url",
        "/bio",
        "/email",
        "/id",
        "/name",
        "/region",
        "/é~1~0",
    ];
    assert_eq!(answer.pointers(), expected);
    for error in answer.body["errors"].as_array().expect("errors") {
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert!(answer.body["request_id"].is_string());
}

#[tokio::test]
async fn wrong_types_are_400_and_named() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let body = json!({ "email": 7, "name": ["A"], "region": {}, "bio": false });
    let answer = app
        .post("/v1/users", &store.admin(), body)
        .await
        .expect(400, "wrong_type");
    assert_eq!(answer.pointers(), ["/bio", "/email", "/name", "/region"]);
    for body in [json!([]), json!("text"), Value::Null] {
        app.post("/v1/users", &store.admin(), body)
            .await
            .expect(400, "wrong_type");
    }
    let path = format!("/v1/users/{}", Uuid::now_v7());
    let patch = app
        .request("PATCH", &path, &store.admin())
        .json(&json!({ "name": null }));
    let answer = crate::app::answer(patch)
        .await
        .expect(422, "invalid_fields");
    assert_eq!(answer.pointers(), ["/name"]);
}

#[tokio::test]
async fn a_command_without_fields_takes_an_empty_object_or_nothing() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    app.register(&token, id).await.expect(201, "");
    let path = format!("/v1/users/{id}/deactivate");
    let wrong = app.post(&path, &token, json!({ "reason": "x" })).await;
    assert_eq!(wrong.expect(422, "invalid_fields").pointers(), ["/reason"]);
    answer(app.request("POST", &path, &token))
        .await
        .expect(200, "");
}

#[tokio::test]
async fn what_is_no_json_text_is_400() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.admin();
    let name = |text: &[u8]| {
        let mut body = br#"{"email":"a@example.org","region":"eu","name":""#.to_vec();
        body.extend_from_slice(text);
        body.extend_from_slice(b"\"}");
        body
    };
    for body in [
        b"{".to_vec(),
        b"".to_vec(),
        b"nonsense".to_vec(),
        name(b"\xff\xfe"),
        name(b"\\ud800"),
        name(b"\\udc00\\ud800"),
        br#"{"name":"A","name":"B"}"#.to_vec(),
        name(b"a\x01b"),
    ] {
        raw(&app, &token, body).await.expect(400, "invalid_json");
    }
    let nul = raw(&app, &token, name(b"a\\u0000b"))
        .await
        .expect(422, "invalid_fields");
    assert_eq!(nul.pointers(), ["/name"]);
    assert!(store.event_types().await.is_empty());
}

#[tokio::test]
async fn a_body_of_two_mebibytes_is_413_and_the_limit_itself_is_taken() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.admin();
    let large = vec![b' '; 2 << 20];
    // The server answers and closes before it has read everything; a client may see either.
    let request = app.request("POST", "/v1/users", &token).body(large);
    if let Ok(response) = request
        .header("Content-Type", "application/json")
        .send()
        .await
    {
        assert_eq!(response.status(), 413);
        let problem: Value = response.json().await.expect("a problem");
        assert_eq!(problem["code"], json!("body_too_large"));
    }
    let mut body = user(Uuid::now_v7()).to_string().into_bytes();
    body.resize(64 << 10, b' ');
    raw(&app, &token, body.clone()).await.expect(201, "");
    body.push(b' ');
    raw(&app, &token, body).await.expect(413, "body_too_large");
}

#[tokio::test]
async fn other_media_types_are_415() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let request = app.request("POST", "/v1/users", &store.admin());
    let request = request
        .header("Content-Type", "text/plain")
        .body(user(Uuid::now_v7()).to_string());
    answer(request).await.expect(415, "unsupported_media_type");
}

#[tokio::test]
async fn unknown_routes_methods_and_ids_are_problems() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.admin();
    let send = |method: &str, path: &str| answer(app.request(method, path, &token));
    send("GET", "/v1/nothing")
        .await
        .expect(404, "route_unknown");
    send("POST", "/v1/commands")
        .await
        .expect(404, "route_unknown");
    send("DELETE", "/v1/users")
        .await
        .expect(405, "method_not_allowed");
    send("GET", "/v1/users/1/email")
        .await
        .expect(405, "method_not_allowed");
    let braces = format!("/v1/users/{{{}}}/deactivate", Uuid::now_v7());
    for path in ["/v1/users/1/deactivate", braces.as_str()] {
        let answer = send("POST", path).await.expect(422, "invalid_parameter");
        assert_eq!(answer.pointers(), ["id"]);
    }
}

#[tokio::test]
async fn an_id_has_one_spelling_whatever_the_client_writes() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let (token, id) = (store.admin(), Uuid::now_v7());
    let mut body = user(id);
    body["id"] = json!(id.to_string().to_uppercase());
    let answer = app.post("/v1/users", &token, body).await.expect(201, "");
    assert_eq!(answer.body["id"], json!(id));
    let path = format!("/v1/users/{}/deactivate", id.to_string().to_uppercase());
    app.post(&path, &token, json!({})).await.expect(200, "");
}

#[tokio::test]
async fn each_published_bound_is_met_to_the_character() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let token = store.admin();
    let limits = answer(app.request("GET", "/v1/limits", &token))
        .await
        .expect(200, "");
    let bound = |name: &str| limits.body["fields"][name].as_u64().expect("a bound");
    let text = |name: &str, length: u64| {
        let length = usize::try_from(length).expect("a small number");
        match name {
            "email" => {
                let domain = format!(
                    "{}.{}.{}.org",
                    "d".repeat(62),
                    "e".repeat(62),
                    "f".repeat(62)
                );
                format!("{}@{domain}", "a".repeat(length - domain.len() - 1))
            }
            "avatar_url" => format!("https://a.example/{}", "x".repeat(length - 18)),
            "region" => "r".repeat(length),
            _ => "ä".repeat(length),
        }
    };
    for name in ["email", "name", "region", "bio", "avatar_url"] {
        let mut body = user(Uuid::now_v7());
        body[name] = json!(text(name, bound(name) + 1));
        let refused = app.post("/v1/users", &token, body.clone()).await;
        assert_eq!(
            refused.expect(422, "invalid_fields").pointers(),
            [format!("/{name}")]
        );
        body[name] = json!(text(name, bound(name)));
        let longest = app.post("/v1/users", &token, body).await;
        longest.expect(201, "");
    }
    assert_eq!(limits.body["partitions"], json!(4));
    assert_eq!(limits.body["body_bytes_max"], json!(64 << 10));
    assert_eq!(limits.body["idempotency_key_max"], json!(255));
    assert_eq!(
        limits.body["idempotency_retention_seconds"],
        json!(24 * 3600)
    );
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_503_and_never_408() {
    let store = TestStore::create().await;
    let app = store.start(&[("HTTP_READ_TIMEOUT", "300ms")]);
    let (port, token) = (app.port, store.admin());
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a time-out");
        let head = format!(
            "POST /v1/users HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        let begun = Instant::now();
        stream.write_all(head.as_bytes()).expect("the head is sent");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("an answer and the end");
        assert!(begun.elapsed() < Duration::from_secs(5));
        answer
    });
    let answer = answer.await.expect("the client");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("body_too_slow"), "{answer}");
}
