//! The admin port: health, readiness, metrics and version, apart from the data port, so that it
//! answers while that one is full and stays off the public network.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::auth::Verifier;
use crate::build_info::BuildInfo;
use crate::{database, metrics};

/// A check that takes longer has failed.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// How a part of the process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", content = "detail", rename_all = "snake_case")]
pub enum Health {
    /// It works.
    Ok,
    /// It works less well than it should, and the process is ready all the same: an open breaker,
    /// a projection that is filling.
    Degraded(String),
    /// It does not work, and the process should get no traffic.
    Failed(String),
}

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Health> + Send>> + Send + Sync>;

/// Whether the process should get traffic. Clones are the same readiness.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<RwLock<BTreeMap<&'static str, Check>>>,
    starting: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the process should get traffic.
    pub ready: bool,
    /// True until everything was built.
    pub starting: bool,
    /// True once the process was asked to stop.
    pub draining: bool,
    /// Every check by name.
    pub checks: BTreeMap<&'static str, Health>,
}

impl Readiness {
    /// Nothing to check yet.
    #[must_use]
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// The readiness of a process that is not built yet: not ready until [`Readiness::started`].
    #[must_use]
    pub fn starting() -> Readiness {
        let starting = Arc::new(AtomicBool::new(true));
        Readiness {
            starting,
            ..Readiness::default()
        }
    }

    /// Everything is built; from now on the checks decide.
    pub fn started(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// Adds a check, or replaces the one of that name.
    pub fn check<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Health> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.checks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, check);
    }

    /// Adds the check that a pool's PostgreSQL answers.
    pub fn check_database(&self, name: &'static str, pool: sqlx::PgPool) {
        self.check(name, move || {
            let pool = pool.clone();
            async move {
                match sqlx::query("select 1").execute(&pool).await {
                    Ok(_) => Health::Ok,
                    // The driver's text can name hosts and users.
                    Err(_) => Health::Failed("the database does not answer".to_owned()),
                }
            }
        });
    }

    /// Opens a hot pool's connections in the background; the check fails until that was tried, so
    /// that no request of a balancer's is the one to open them. Call it inside a runtime.
    pub fn check_warm(&self, name: &'static str, pool: sqlx::PgPool) {
        let warming = tokio::spawn(database::warm(pool)).abort_handle();
        self.check(name, move || {
            let health = if warming.is_finished() {
                Health::Ok
            } else {
                Health::Failed("connections are being opened".to_owned())
            };
            async move { health }
        });
    }

    /// Adds the check that there are keys to verify tokens with.
    pub fn check_keys(&self, name: &'static str, verifier: Verifier) {
        self.check(name, move || {
            let health = if verifier.has_keys() {
                Health::Ok
            } else {
                Health::Failed("no verification keys are loaded".to_owned())
            };
            async move { health }
        });
    }

    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process was asked to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Runs every check.
    pub async fn report(&self) -> Report {
        let checks = self
            .checks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let run = checks.into_iter().map(|(name, check)| async move {
            let health = tokio::time::timeout(CHECK_DEADLINE, check()).await;
            (
                name,
                health.unwrap_or_else(|_| Health::Failed("no answer within 2s".to_owned())),
            )
        });
        let checks: BTreeMap<_, _> = futures_util::future::join_all(run)
            .await
            .into_iter()
            .collect();
        let starting = self.starting.load(Ordering::Relaxed);
        let draining = self.draining.load(Ordering::Relaxed);
        let failed = checks
            .values()
            .any(|health| matches!(health, Health::Failed(_)));
        Report {
            ready: !starting && !draining && !failed,
            starting,
            draining,
            checks,
        }
    }
}

/// Serves the admin port on a bound listener. Stop it last: `/readyz` must answer while the data
/// ports drain.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, readiness: Readiness) -> std::io::Result<Server> {
    let readiness = web::Data::new(readiness);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(readiness.clone())
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(prometheus_text))
            .route("/version", web::get().to(version))
    });
    Ok(server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(listener)?
        .run())
}

/// The admin port of a process, served from before the rest is built until after it has stopped.
pub struct AdminPort {
    handle: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
}

impl AdminPort {
    /// Binds the port and serves it in the background.
    ///
    /// # Errors
    /// When the address cannot be listened to.
    pub fn open(address: SocketAddr, readiness: Readiness) -> std::io::Result<AdminPort> {
        let server = serve(TcpListener::bind(address)?, readiness)?;
        let handle = server.handle();
        let serving = tokio::spawn(server);
        Ok(AdminPort { handle, serving })
    }

    /// Finishes the requests that run and closes the port.
    ///
    /// # Errors
    /// When the server had failed.
    pub async fn close(self) -> std::io::Result<()> {
        self.handle.stop(true).await;
        self.serving
            .await
            .unwrap_or_else(|failed| Err(std::io::Error::other(failed)))
    }
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

async fn readyz(readiness: web::Data<Readiness>) -> HttpResponse {
    let report = readiness.report().await;
    let mut answer = if report.ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    answer
        .insert_header(("Cache-Control", "no-store"))
        .json(report)
}

async fn prometheus_text() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(metrics::render())
}

async fn version() -> HttpResponse {
    HttpResponse::Ok().json(BuildInfo::of_platform())
}
