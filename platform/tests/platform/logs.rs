//! What the process writes to its log while the other tests run.

use std::io::Write;
use std::sync::{Mutex, Once};
use std::time::Duration;

use serde_json::Value;

use super::app::App;
use super::wire::Wire;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps every line of this process, and installs the panic hook.
pub(crate) fn capture() {
    STARTED.call_once(|| {
        tracing_subscriber::fmt()
            .json()
            .with_writer(|| Lines)
            .init();
        // Failing tests go on saying why.
        let of_tests = std::panic::take_hook();
        platform::panics::install_hook();
        let ours = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            ours(panic);
            of_tests(panic);
        }));
    });
}

fn lines() -> Vec<Value> {
    let bytes = LINES.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of one request.
fn lines_of(request_id: &str) -> Vec<Value> {
    let mut lines = lines();
    lines.retain(|line| line["span"]["request_id"] == request_id);
    lines
}

async fn line_of(request_id: &str, target: &str) -> Value {
    testkit::eventually(Duration::from_secs(5), || async {
        let found = lines_of(request_id)
            .into_iter()
            .find(|line| line["target"] == target);
        found.ok_or_else(|| format!("no {target} line of {request_id}"))
    })
    .await
}

#[tokio::test]
async fn each_request_has_one_line_with_its_route_but_no_id_or_query() {
    let app = App::spawn().await;
    let path = app.url("/items/7?limit=5");
    let answer = app
        .client
        .get(path)
        .header("x-request-id", "line-1")
        .send()
        .await
        .unwrap();
    let length = answer.bytes().await.unwrap().len();
    let line = line_of("line-1", "http").await;
    let fields = &line["fields"];
    assert_eq!(
        (&fields["method"], &fields["path"]),
        (&"GET".into(), &"/items/{id}".into())
    );
    assert_eq!(
        (&fields["status"], &fields["bytes"]),
        (&200.into(), &length.into())
    );
    assert!(fields["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(lines_of("line-1").len(), 1);
    assert!(!line.to_string().contains("limit"), "{line}");
    let labels = ["platform-test", "GET", "/items/{id}", "200"];
    assert!(
        platform::metrics::HTTP_REQUESTS
            .with_label_values(&labels)
            .get()
            > 0
    );
    let shown = String::from_utf8(platform::metrics::render()).unwrap();
    assert!(!shown.contains("/items/7"), "an id is a label in\n{shown}");
}

#[tokio::test]
async fn the_process_tells_how_it_is_in_every_interval() {
    capture();
    let shutdown = platform::shutdown::Shutdown::new();
    platform::runtime_stats::add("l1_entries", || 42);
    platform::runtime_stats::start(Duration::from_millis(50), 2, &shutdown);
    let line = testkit::eventually(Duration::from_secs(5), || async {
        let found = lines()
            .into_iter()
            .find(|line| line["target"] == "runtime_stats");
        found.ok_or("no runtime_stats line")
    })
    .await;
    let fields = &line["fields"];
    for name in ["rss_bytes", "allocated_bytes", "threads"] {
        assert!(fields[name].as_u64().unwrap() > 0, "{name} in {line}");
    }
    for name in [
        "tokio_tasks",
        "busy_ratio",
        "pool_in_use",
        "connections",
        "queues",
    ] {
        assert!(fields.get(name).is_some(), "{name} in {line}");
    }
    assert_eq!(fields["extras"], "l1_entries=42");
    shutdown.stop();
}

#[tokio::test]
async fn a_panic_is_logged_once_with_its_backtrace_and_counted() {
    let app = App::spawn().await;
    let before = platform::metrics::PANICS.get();
    let request = app
        .client
        .get(app.url("/panic"))
        .header("x-request-id", "panic-1");
    assert_eq!(request.send().await.unwrap().status(), 500);
    let line = line_of("panic-1", "panic").await;
    assert_eq!(line["fields"]["message"], "panicked: as planned");
    assert!(
        line["fields"]["backtrace"]
            .as_str()
            .unwrap()
            .contains("platform")
    );
    assert!(
        line["fields"]["location"]
            .as_str()
            .unwrap()
            .contains("app.rs")
    );
    let of_panic = lines_of("panic-1")
        .iter()
        .filter(|l| l["level"] == "ERROR")
        .count();
    assert_eq!(of_panic, 1);
    assert!(platform::metrics::PANICS.get() > before);
    let request_line = line_of("panic-1", "http").await;
    assert_eq!(request_line["fields"]["path"], "/panic");
    assert_eq!(request_line["fields"]["status"], 500);
}

#[tokio::test]
async fn a_client_that_goes_away_still_leaves_a_line() {
    let app = App::spawn().await;
    let mut wire = Wire::connect(app.port).await;
    wire.send("GET /large HTTP/1.1\r\nhost: x\r\nx-request-id: gone-1\r\n\r\n")
        .await;
    drop(wire);
    let line = line_of("gone-1", "http").await;
    assert_eq!(line["fields"]["path"], "/large");
}
