//! What may be in a request body, and how fast it must come.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::app::{App, problem};
use super::wire::{Wire, parse};

async fn post(app: &App, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let request = app
        .client
        .post(app.url("/notes"))
        .header("content-type", "application/json");
    request.body(body).send().await.unwrap()
}

#[track_caller]
fn check(problem: &Value, status: u16, code: &str, pointers: &[&str]) {
    let none = Vec::new();
    let errors = problem["errors"].as_array().unwrap_or(&none);
    let found: Vec<_> = errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&status.into(), &code.into())
    );
    assert_eq!(found, pointers, "{problem}");
}

#[tokio::test]
async fn a_good_body_is_taken_as_it_is() {
    let app = App::spawn().await;
    let answer = post(&app, r#"{"text":"hé"}"#).await;
    assert_eq!(answer.status(), 201);
    let expected = serde_json::json!({ "text": "hé", "bytes": 14 });
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn a_bad_body_is_told_which_field_and_what_is_allowed() {
    let app = App::spawn().await;
    let told = async |body: &'static [u8]| problem(post(&app, body).await).await;
    check(&told(b"{\"text\":").await, 400, "invalid_json", &[]);
    check(
        &told(b"{\"text\":\"\xff\xfe\"}").await,
        400,
        "invalid_json",
        &[],
    );
    check(
        &told(br#"{"text":"\ud800"}"#).await,
        400,
        "invalid_json",
        &[],
    );
    check(
        &told(br#"{"text":"a","text":"b"}"#).await,
        400,
        "invalid_json",
        &[],
    );
    check(&told(br#"{"text":7}"#).await, 400, "wrong_type", &["/text"]);
    check(&told(br#"["text"]"#).await, 400, "wrong_type", &[""]);
    check(
        &told(br#"{"text":"\u0000"}"#).await,
        422,
        "invalid_fields",
        &["/text"],
    );
    check(
        &told(br#"{"colour":1,"size":2}"#).await,
        422,
        "invalid_fields",
        &["/text", "/colour", "/size"],
    );
}

#[tokio::test]
async fn another_media_type_is_415() {
    let app = App::spawn().await;
    let request = app
        .client
        .post(app.url("/notes"))
        .header("content-type", "text/plain");
    let answer = request.body("{}").send().await.unwrap();
    check(
        &problem(answer).await,
        415,
        "unsupported_media_type",
        &["Content-Type"],
    );
}

#[tokio::test]
async fn a_body_over_http_body_max_is_413_announced_or_not() {
    let app = App::with(|http| http.body_max = 1024).await;
    let fits = format!("{{\"text\":\"{}\"}}", "x".repeat(1024 - 11));
    assert_eq!(post(&app, fits.clone()).await.status(), 201);
    let too_large = fits.replacen("x", "xx", 1);
    check(
        &problem(post(&app, too_large).await).await,
        413,
        "body_too_large",
        &[],
    );

    let mut wire = Wire::connect(app.port).await;
    wire.send("POST /notes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("100\r\n{}\r\n", "x".repeat(0x100));
    for _ in 0..8 {
        if !wire.try_send(&chunk).await {
            break;
        }
    }
    assert_eq!(wire.answer().await.status, 413);
}

#[tokio::test]
async fn a_two_mebibyte_body_is_413_and_the_next_request_is_served() {
    let app = App::spawn().await;
    let mut wire = Wire::connect(app.port).await;
    let length = 2 << 20;
    wire.send(format!(
        "POST /notes HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
    ))
    .await;
    // The server need not read it all; it may answer and close at any time.
    wire.try_send(vec![b'x'; length]).await;
    let text = wire
        .read_to_end(Duration::from_secs(5))
        .await
        .expect("the connection is closed");
    assert!(
        text.is_empty() || parse(&text).unwrap().status == 413,
        "{text}"
    );
    assert_eq!(post(&app, r#"{"text":"next"}"#).await.status(), 201);
}

#[tokio::test]
async fn a_body_that_takes_longer_than_http_read_timeout_is_503_and_closed() {
    let app = App::with(|http| {
        http.read_timeout = Duration::from_millis(300);
        // What is sent here is enough for a minute.
        http.body_rate_min = 1;
    })
    .await;
    let started = Instant::now();
    let mut wire = Wire::connect(app.port).await;
    let begun = "x".repeat(60);
    wire.send(format!(
        "POST /notes HTTP/1.1\r\nhost: x\r\ncontent-length: 80\r\n\r\n{begun}"
    ))
    .await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    assert!(answer.body.contains("body_too_slow"), "{answer:?}");
    let took = started.elapsed();
    // The default is 5 s.
    let in_time = Duration::from_millis(250)..Duration::from_millis(4_500);
    assert!(in_time.contains(&took), "{took:?}");
    assert!(
        wire.read_to_end(Duration::from_secs(5)).await.is_some(),
        "still open"
    );
}

#[tokio::test]
async fn a_body_slower_than_http_body_rate_min_is_503_long_before_the_deadline() {
    let app = App::with(|http| http.read_timeout = Duration::from_secs(60)).await;
    let started = Instant::now();
    let mut wire = Wire::connect(app.port).await;
    wire.send("POST /notes HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n")
        .await;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    while started.elapsed() < Duration::from_millis(800) {
        pace.tick().await;
        // A client that is late here finds the connection closed.
        if !wire.try_send("x").await {
            break;
        }
    }
    assert_eq!(wire.answer().await.status, 503);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
}
