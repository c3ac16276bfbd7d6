//! Everything that fails is answered with a problem.

use reqwest::Method;
use serde_json::Value;

use super::app::{App, problem};

#[track_caller]
fn check(problem: &Value, status: u16, code: &str) {
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&status.into(), &code.into())
    );
}

#[tokio::test]
async fn a_panic_is_a_500_with_the_request_id_and_the_worker_goes_on() {
    let app = App::spawn().await;
    for _ in 0..3 {
        let answer = app.get("/panic").await;
        let problem = problem(answer).await;
        check(&problem, 500, "internal");
        assert!(
            !problem.to_string().contains("as planned"),
            "the cause stays inside"
        );
    }
    assert_eq!(app.get("/hello").await.status(), 200);
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_are_problems() {
    let app = App::spawn().await;
    check(
        &problem(app.get("/nowhere").await).await,
        404,
        "route_unknown",
    );
    let answer = app.client.delete(app.url("/items/1")).send().await.unwrap();
    check(&problem(answer).await, 405, "method_not_allowed");
    let unmatched = |code: &str| {
        platform::metrics::API_ERRORS
            .with_label_values(&["GET", "unmatched", code])
            .get()
    };
    assert!(unmatched("route_unknown") > 0);
}

#[tokio::test]
async fn head_is_answered_wherever_get_is_with_the_same_headers_and_no_body() {
    let app = App::spawn().await;
    for path in [
        "/hello",
        "/text",
        "/openapi.json",
        "/docs/",
        "/nowhere",
        "/panic",
    ] {
        let get = app.get(path).await;
        let head = app.client.head(app.url(path)).send().await.unwrap();
        assert_eq!(head.status(), get.status(), "{path}");
        for header in ["content-type", "content-length", "cache-control"] {
            let (of_head, of_get) = (head.headers().get(header), get.headers().get(header));
            assert_eq!(of_head, of_get, "{path}: {header}");
        }
        assert_eq!(head.bytes().await.unwrap(), "", "{path}");
    }
    let on_a_post = app.client.head(app.url("/notes")).send().await.unwrap();
    assert_eq!(on_a_post.status(), 405);
    let counted = platform::metrics::HTTP_REQUESTS.with_label_values(&[
        "platform-test",
        "HEAD",
        "/hello",
        "200",
    ]);
    assert_eq!(counted.get(), 1);
}

#[tokio::test]
async fn a_bad_path_parameter_and_a_bad_query_are_problems() {
    let app = App::spawn().await;
    check(
        &problem(app.get("/items/seven").await).await,
        404,
        "route_unknown",
    );
    check(
        &problem(app.get("/items/7?limit=many").await).await,
        422,
        "invalid_parameter",
    );
}

#[tokio::test]
async fn a_read_past_its_deadline_is_503_with_retry_after() {
    let app = App::spawn().await;
    let answer = app.get("/slow").await;
    assert_eq!(answer.headers()["retry-after"], "1");
    check(&problem(answer).await, 503, "deadline_exceeded");
}

#[tokio::test]
async fn the_request_id_of_the_client_comes_back_or_is_replaced() {
    let app = App::spawn().await;
    let id_of = async |given: &str| {
        let request = app
            .client
            .get(app.url("/hello"))
            .header("x-request-id", given);
        let answer = request.send().await.unwrap();
        answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(id_of("my-request").await, "my-request");
    let replaced = id_of("two words").await;
    assert!(replaced.len() == 32 && replaced != id_of("two words").await);
    assert_eq!(id_of(&"x".repeat(129)).await.len(), 32);
}

#[tokio::test]
async fn personal_answers_are_private_and_errors_are_not_stored() {
    let app = App::spawn().await;
    assert_eq!(
        app.get("/hello").await.headers()["cache-control"],
        "private"
    );
    assert_eq!(
        app.get("/nowhere").await.headers()["cache-control"],
        "no-store"
    );
}

#[tokio::test]
async fn answers_are_compressed_when_asked_and_problems_stay_readable() {
    let app = App::spawn().await;
    let get = async |path: &str| {
        let request = app
            .client
            .get(app.url(path))
            .header("accept-encoding", "gzip");
        request.send().await.unwrap()
    };
    let answer = get("/text").await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert!(answer.bytes().await.unwrap().len() < 1_000);
    let answer = get("/nowhere").await;
    assert!(answer.headers().get("content-encoding").is_none());
    check(&problem(answer).await, 404, "route_unknown");
}

#[tokio::test]
async fn the_tag_of_a_compressed_answer_is_of_its_bytes_and_known_again() {
    let app = App::spawn().await;
    let ask = async |method: Method, headers: &[(&str, &str)]| {
        let mut request = app.client.request(method, app.url("/tagged"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), tag)
    };
    let (plain, gzip) = ("\"v7.3\"".to_owned(), "\"v7.3-gzip\"".to_owned());
    let asked = ("accept-encoding", "gzip");
    assert_eq!(ask(Method::GET, &[]).await, (200, plain));
    for method in [Method::GET, Method::HEAD] {
        let answer = ask(method.clone(), &[asked]).await;
        assert_eq!(answer, (200, gzip.clone()), "{method}");
        let again = [asked, ("if-none-match", gzip.as_str())];
        assert_eq!(
            ask(method.clone(), &again).await,
            (304, gzip.clone()),
            "{method}"
        );
    }
}

#[tokio::test]
async fn only_listed_origins_may_call_from_a_browser() {
    let app = App::with(|http| http.cors_origins = vec!["https://app.example".to_owned()]).await;
    let allowed_for = async |origin: &str, path: &str| {
        let request = app.client.get(app.url(path)).header("origin", origin);
        let answer = request.send().await.unwrap();
        answer
            .headers()
            .get("access-control-allow-origin")
            .map(|v| v.to_str().unwrap().to_owned())
    };
    let app_origin = Some("https://app.example".to_owned());
    assert_eq!(
        allowed_for("https://app.example", "/hello").await,
        app_origin
    );
    assert_eq!(
        allowed_for("https://app.example", "/nowhere").await,
        app_origin
    );
    assert_eq!(allowed_for("https://evil.example", "/hello").await, None);
    let preflight = app
        .client
        .request(reqwest::Method::OPTIONS, app.url("/notes"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,idempotency-key",
        );
    assert_eq!(preflight.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_trace_goes_through_and_rubbish_does_not() {
    let app = App::spawn().await;
    let trace_of = async |given: &str| -> Value {
        let request = app
            .client
            .get(app.url("/context"))
            .header("traceparent", given);
        request.send().await.unwrap().json::<Value>().await.unwrap()["traceparent"].clone()
    };
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(trace_of(good).await, good);
    assert_eq!(trace_of("rubbish").await, Value::Null);
}

#[tokio::test]
async fn the_api_documents_itself() {
    let app = App::spawn().await;
    let openapi: Value = app.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(openapi["openapi"], "3.1.0");
    assert_eq!(openapi["paths"]["/hello"]["get"]["summary"], "Says hello.");
    assert_eq!(app.get("/docs").await.headers()["location"], "/docs/");
    let page = app.get("/docs/").await;
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("swagger"));
    assert_eq!(app.get("/docs/swagger-ui-bundle.js").await.status(), 200);
}

#[tokio::test]
async fn a_page_of_a_listed_origin_can_read_that_it_must_wait() {
    let app = App::with(|http| {
        http.cors_origins = vec!["https://app.example".to_owned()];
        http.rate_limit = Some(platform::config::RateLimitSettings {
            per_second: 1,
            burst: 1,
        });
    })
    .await;
    let token = app.token("impatient");
    let ask = async |origin: &str| {
        let request = app.client.get(app.url("/me")).bearer_auth(&token);
        request.header("origin", origin).send().await.unwrap()
    };
    ask("https://app.example").await;
    let told = ask("https://app.example").await;
    assert_eq!(told.status(), 429);
    let headers = told.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example"
    );
    let exposed = headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("retry-after"), "{exposed}");
    let stranger = ask("https://other.example").await;
    assert_eq!(stranger.status(), 429);
    assert!(
        !stranger
            .headers()
            .contains_key("access-control-allow-origin")
    );
}

#[tokio::test]
async fn while_the_process_drains_every_answer_says_that_its_connection_ends() {
    let app = App::spawn().await;
    let ends = async |path: &str| {
        let answer = app.get(path).await;
        answer
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close")
    };
    assert!(!ends("/hello").await);
    app.readiness.drain();
    for path in ["/hello", "/nowhere"] {
        assert!(ends(path).await, "{path}");
    }
}
