//! What the API says of itself: OpenAPI, docs, limits; and errors of the HTTP layer.

use crate::app::{Reply, TestApp, acme, user};

async fn public(app: &TestApp, path: &str) -> Reply {
    let request = app.client.get(format!("{}{path}", app.url));
    Reply::of(request.send().await.expect("an answer")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_is_golden_and_names_exactly_the_served_fields() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let mut document = public(&app, "/openapi.json").await.is_ok().json();
    document["info"]["version"] = "0.0.0".into();
    let described = document["components"]["schemas"]["UserView"]["properties"].clone();
    let served = app.get(&user(1)).await.json();
    let names = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let (mut described, mut served) = (names(&described), names(&served));
    described.sort();
    served.sort();
    assert_eq!(described, served);
    let paths = names(&document["paths"]);
    assert_eq!(paths.len(), 3, "{paths:?}");
    for path in paths {
        let path = path.replace("{id}", "018f3c2e-0000-7000-8000-000000000001");
        assert_ne!(app.get(&path).await.text, "");
        let problem = app.get(&path).await;
        assert!(
            problem.status == 200 || problem.code() != "route_unknown",
            "{path}"
        );
    }
    insta::assert_json_snapshot!("openapi", document);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docs_and_the_limits_are_public() {
    let app = TestApp::spawn().await;
    let docs = public(&app, "/docs/").await;
    assert!(docs.is_ok().text.contains("swagger"), "{docs:?}");
    let limits = public(&app, "/v1/limits").await;
    insta::assert_json_snapshot!("limits", limits.is_ok().json());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_problems() {
    let app = TestApp::spawn().await;
    app.get("/v1/nothing")
        .await
        .is_problem(404, "route_unknown");
    let bearer = app.bearer(&acme(), "ops", platform::auth::Role::Admin);
    let request = app
        .client
        .delete(format!("{}{}", app.url, user(1)))
        .bearer_auth(bearer);
    let reply = Reply::of(request.send().await.expect("an answer")).await;
    reply.is_problem(405, "method_not_allowed");
}
