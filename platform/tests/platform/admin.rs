//! The admin port and the order in which a process stops.

use std::net::TcpListener;
use std::time::Duration;

use platform::admin::{Health, Readiness, serve};
use platform::shutdown::Shutdown;
use serde_json::{Value, json};
use testkit::TestDatabase;

struct Admin {
    url: String,
    readiness: Readiness,
    client: reqwest::Client,
}

impl Admin {
    fn spawn() -> Admin {
        platform::metrics::register();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let readiness = Readiness::new();
        tokio::spawn(serve(listener, readiness.clone()).unwrap());
        let client = reqwest::Client::builder()
            .no_proxy()
            // No roots: loading them takes long, and nothing here is encrypted.
            .tls_certs_only([]);
        Admin {
            url,
            readiness,
            client: client.build().unwrap(),
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.url)).send();
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn ready(&self) -> (u16, Value) {
        let (status, text) = self.get("/readyz").await;
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test]
async fn health_version_and_metrics_answer() {
    let admin = Admin::spawn();
    assert_eq!(admin.get("/healthz").await.0, 200);
    let (_, version) = admin.get("/version").await;
    let version: Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let (status, text) = admin.get("/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "panics_total ",
        "active_connections ",
        "slo_violations_total{slo=\"latency_p95\"} ",
        "build_info{commit=",
        "process_resident_memory_bytes ",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "{name} is not in\n{text}"
        );
    }
}

#[tokio::test]
async fn readiness_shows_every_check_and_a_degraded_one_does_not_fail_it() {
    let admin = Admin::spawn();
    admin.readiness.check("store", || async { Health::Ok });
    let filling = || async { Health::Degraded("filling".to_owned()) };
    admin.readiness.check("user_view", filling);
    let (status, report) = admin.ready().await;
    assert_eq!((status, &report["ready"]), (200, &json!(true)));
    assert_eq!(
        report["checks"]["user_view"],
        json!({"status": "degraded", "detail": "filling"})
    );

    let down = || async { Health::Failed("down".to_owned()) };
    admin.readiness.check("store", down);
    let (status, report) = admin.ready().await;
    assert_eq!((status, &report["ready"]), (503, &json!(false)));
    assert_eq!(report["checks"]["store"]["status"], "failed");
    assert_eq!(admin.get("/healthz").await.0, 200, "alive all the same");
}

#[tokio::test]
async fn a_check_that_hangs_has_failed() {
    let readiness = Readiness::new();
    readiness.check("hanging", std::future::pending);
    let report = readiness.report().await;
    assert!(!report.ready);
    assert!(matches!(report.checks["hanging"], Health::Failed(_)));
}

#[tokio::test]
async fn a_database_check_follows_the_database() {
    let database = TestDatabase::create().await;
    let readiness = Readiness::new();
    let pool = database.pool();
    readiness.check_database("postgres", pool.clone());
    assert_eq!(readiness.report().await.checks["postgres"], Health::Ok);
    pool.close().await;
    assert!(!readiness.report().await.ready);
}

#[tokio::test]
async fn draining_says_not_ready_first_and_stops_after_the_wait() {
    let admin = Admin::spawn();
    let shutdown = Shutdown::new();
    assert_eq!(admin.ready().await.0, 200);
    let draining = shutdown.drain(&admin.readiness, Duration::from_secs(3));
    let watching = async {
        shutdown.draining().await;
        let (status, report) = admin.ready().await;
        assert_eq!((status, &report["draining"]), (503, &json!(true)));
        assert!(
            !shutdown.is_stopping(),
            "stopped before balancers could notice"
        );
        shutdown.stopped().await;
        assert!(shutdown.is_stopping());
    };
    tokio::join!(draining, watching);
}
