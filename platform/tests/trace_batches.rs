//! `TRACE_BATCH_MAX`, `TRACE_BATCH_DELAY` and `TRACE_SAMPLE_RATIO`: spans leave in batches, and
//! nobody needs to flush. A binary of its own: telemetry is started once per process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use platform::config::{Environment, Problems, TelemetryArgs, load};
use testkit::eventually;

const SPANS: [&str; 5] = ["span-a", "span-b", "span-c", "span-d", "span-e"];

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// The spans of each export, by their names.
type Exports = Arc<Mutex<Vec<usize>>>;

/// Something that counts what is exported to it.
fn collector(exports: &Exports) -> String {
    let exports = Arc::clone(exports);
    let server = HttpServer::new(move || {
        let exports = Arc::clone(&exports);
        let keep = move |body: web::Bytes| {
            let holds = |name: &&str| body.windows(name.len()).any(|part| part == name.as_bytes());
            exports
                .lock()
                .unwrap()
                .push(SPANS.iter().filter(|name| holds(name)).count());
            async { HttpResponse::Ok().finish() }
        };
        App::new().default_service(web::to(keep))
    });
    let server = server
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    tokio::spawn(server.run());
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sampled_span_is_sent_a_full_batch_at_once_and_the_rest_after_the_delay() {
    let exports = Exports::default();
    let endpoint = collector(&exports);
    let environment = Environment::from_pairs([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("TRACE_SAMPLE_RATIO", "1"),
        ("TRACE_BATCH_MAX", "2"),
        ("TRACE_BATCH_DELAY", "15s"),
    ]);
    let (cli, _) = load::<Cli>(["test"], environment).unwrap();
    let mut problems = Problems::default();
    let settings = cli.telemetry.validate(&mut problems);
    problems.check().unwrap();
    let of_tests = std::panic::take_hook();
    let guard = platform::telemetry::init("batches", &settings).unwrap();
    std::panic::set_hook(of_tests);
    let happens = |name| drop(tracing::info_span!("work", otel.name = name).entered());
    let (full, lone) = SPANS.split_at(4);
    full.iter().copied().for_each(happens);
    let arrived = async |spans: usize, deadline: Duration| {
        eventually(deadline, || async {
            let sent = exports.lock().unwrap().clone();
            if sent.iter().sum::<usize>() >= spans {
                Ok(sent)
            } else {
                Err(sent)
            }
        })
        .await
    };
    arrived(4, Duration::from_secs(12)).await;
    // One that is alone waits for others, and not for ever.
    lone.iter().copied().for_each(happens);
    let sent = arrived(SPANS.len(), Duration::from_secs(60)).await;
    assert!(sent.iter().all(|spans| *spans <= 2), "{sent:?}");
    guard.flush().await;
}
