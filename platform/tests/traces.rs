//! Spans reach a collector, as children of the caller's. A binary of its own: telemetry is
//! started once per process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use platform::admin::Readiness;
use platform::auth::{DevKeys, Verifier};
use platform::config::{AuthSettings, Environment, HttpArgs, Mode, Problems, TelemetryArgs, load};
use platform::http::{Api, HttpStack, RequestContext, serve};
use utoipa_actix_web::service_config::ServiceConfig;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

type Exports = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Something that keeps what is exported to it.
fn collector(exports: &Exports) -> String {
    let exports = Arc::clone(exports);
    let server = HttpServer::new(move || {
        let exports = Arc::clone(&exports);
        let keep = move |request: actix_web::HttpRequest, body: web::Bytes| {
            exports
                .lock()
                .unwrap()
                .push((request.path().to_owned(), body.to_vec()));
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

async fn api(cli: &Cli, problems: &mut Problems) -> String {
    let folder = tempfile::tempdir().unwrap();
    let keys = DevKeys::ensure(folder.path()).unwrap();
    let auth = AuthSettings::of_file(&keys.jwks, "runnel-dev", "runnel-dev");
    let verifier = Verifier::start(auth, Mode::Development).await.unwrap();
    let stack = HttpStack::new(
        "traced",
        cli.http.validate(problems),
        verifier,
        &Readiness::new(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = |config: &mut ServiceConfig<'_>| {
        let context = |context: RequestContext| async move {
            HttpResponse::Ok().body(context.traceparent.unwrap_or_default().to_string())
        };
        config.route("/things/{id}", web::get().to(context));
        config.route(
            "/broken",
            web::get().to(async || HttpResponse::InternalServerError()),
        );
    };
    let api = Api {
        openapi: Default::default(),
        routes,
    };
    tokio::spawn(serve(&stack, listener, 1, Duration::from_secs(1), api).unwrap());
    url
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_a_span_in_the_callers_trace_and_the_last_ones_are_flushed() {
    let exports = Exports::default();
    let endpoint = collector(&exports);
    let environment = Environment::from_pairs([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("TRACE_SAMPLE_RATIO", "0"),
        ("TRACE_BATCH_DELAY", "1h"),
    ]);
    let (cli, _) = load::<Cli>(["test"], environment).unwrap();
    let mut problems = Problems::default();
    let of_tests = std::panic::take_hook();
    let guard =
        platform::telemetry::init("traced", &cli.telemetry.validate(&mut problems)).unwrap();
    std::panic::set_hook(of_tests);
    let api = api(&cli, &mut problems).await;
    problems.check().unwrap();

    let client = reqwest::Client::new();
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let sampled = format!("00-{trace}-{parent}-01");
    let request = client
        .get(format!("{api}/things/7"))
        .header("traceparent", &sampled);
    let ours = request.send().await.unwrap().text().await.unwrap();
    assert!(
        ours.starts_with(&format!("00-{trace}-")) && ours.ends_with("-01"),
        "{ours}"
    );
    assert!(
        !ours.contains(parent),
        "the stored context is our span's: {ours}"
    );
    let broken = client
        .get(format!("{api}/broken"))
        .header("traceparent", &sampled);
    assert_eq!(broken.send().await.unwrap().status(), 500);
    // Nobody decided about this one, and the ratio is 0.
    client.get(format!("{api}/unsampled")).send().await.unwrap();
    guard.flush().await;

    let exports = exports.lock().unwrap();
    let (path, body) = exports.first().expect("the spans were flushed");
    assert_eq!((path.as_str(), exports.len()), ("/v1/traces", 1));
    let hex = |text: &str| -> Vec<u8> {
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    for bytes in [hex(trace), hex(parent), hex(&ours[36..52])] {
        assert!(contains(body, &bytes));
    }
    for text in [
        "GET /things/{id}",
        "http.route",
        "GET /broken",
        "url.scheme",
        "traced",
    ] {
        assert!(contains(body, text.as_bytes()), "{text}");
    }
    assert!(!contains(body, b"unsampled") && !contains(body, b"unmatched"));
}
