//! `runnel up`: everything in one process, started in the order of its dependence and stopped in
//! the reverse one.
//!
//! lock → keys, settings → ports → PostgreSQL → migrations → services → greeting; then, when
//! asked to stop: HTTP drains → projector → appender → PostgreSQL.

mod environment_file;
mod greeting;
mod guard;
mod ports;
mod services;
mod settings;
mod store;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use platform::admin::{Health, Readiness};
use platform::auth::{Claims, Role};
use platform::shutdown::Shutdown;
use platform::telemetry::{self, LogOutput};
use uuid::Uuid;

use self::environment_file::Told;
use self::greeting::Greeting;
use self::services::Services;
use self::settings::UpSettings;
pub use self::settings::{UpArgs, own_database_mark};
use self::store::Store;
use crate::home::{Home, write_private};
use crate::instance_lock::InstanceLock;
use crate::migrate::migrate;
use crate::token::{self, TENANT_DEFAULT};

const READY_WAIT_MAX: Duration = Duration::from_secs(15);
const READY_POLL: Duration = Duration::from_millis(20);
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// When something cannot be started, or a service fails; what was started is stopped first.
pub fn run(args: UpArgs) -> anyhow::Result<()> {
    let home = Home::open(args.process.runnel_home.as_ref())?;
    // First of all: a second `runnel up` should hear of the first one, not of a taken port.
    let lock = InstanceLock::take(&home.lock_file())?;
    let settings = args.settle(&home)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Standard output is for the greeting, so that it can be found, and piped.
        let telemetry = telemetry::init_to(LogOutput::Stderr, "runnel", &settings.telemetry)?;
        let result = up(&home, lock, settings).await;
        telemetry.flush().await;
        result?;
        platform::output::write(b"Runnel has stopped; the data stays.\n")?;
        Ok(())
    })
}

/// Everything that stands on the database lives inside; the database goes last, also after a
/// failure.
async fn up(home: &Home, mut lock: InstanceLock, mut settings: UpSettings) -> anyhow::Result<()> {
    settings.check_ports()?;
    let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
    // Before PostgreSQL starts: Ctrl-C from now on stops in order.
    shutdown.drain_on_signals(readiness.clone(), settings.shutdown)?;
    let store = Store::open(home, &settings).await?;
    if let Some(url) = &store.url {
        settings.use_database(url);
    }
    let served = serve(home, &mut lock, settings, &store, &readiness, &shutdown).await;
    environment_file::remove(home);
    let closed = store.close().await;
    served?;
    closed
}

async fn serve(
    home: &Home,
    lock: &mut InstanceLock,
    settings: UpSettings,
    store: &Store,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let config = &settings.command;
    migrate(&config.database, settings.partitions, &config.secret.key).await?;
    if shutdown.is_stopping() {
        return Ok(());
    }
    let token = ready_made_token(home, &settings)?;
    let told = settings.told.clone();
    let runtime_stats = settings.telemetry.runtime_stats_interval;
    let workers = config.process.worker_threads;
    let services = Services::build(settings, readiness).await?;
    platform::runtime_stats::start(runtime_stats, workers, shutdown);
    let urls = &services.urls;
    lock.describe(&format!("pid {} at {}", std::process::id(), urls.command))?;
    let told = Told {
        database_url: store.url.as_ref(),
        command_url: &urls.command,
        query_url: &urls.query,
        settings: told,
    };
    environment_file::write(home, &told)?;
    let greeting = Greeting {
        command_url: &urls.command,
        query_url: &urls.query,
        admin_url: &urls.admin,
        store: &store.described,
        env_file: &home.env_file(),
        token: token
            .as_ref()
            .map(|(token, file)| (token.as_str(), file.as_path())),
    };
    let text = greeting.text(Uuid::now_v7());
    let greet = async {
        if !ready(readiness).await {
            return;
        }
        // Nobody reads along when standard output is closed; the services work all the same.
        let _ = platform::output::write(text.as_bytes());
    };
    let (served, ()) = tokio::join!(services.run(shutdown), greet);
    served
}

/// Waits until every part is as it should be, so that what is printed works when it is pasted. A
/// large view that is being filled is not waited for: until then its reads say so.
/// False when it was asked to stop meanwhile.
async fn ready(readiness: &Readiness) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < READY_WAIT_MAX {
        let report = readiness.report().await;
        if report.draining {
            return false;
        }
        if report.checks.values().all(|health| *health == Health::Ok) {
            return true;
        }
        tokio::time::sleep(READY_POLL).await;
    }
    tracing::warn!("not everything is ready yet; /readyz says what is missing");
    true
}

/// A token of role admin, and the file that the printed curl lines take it from.
fn ready_made_token(
    home: &Home,
    settings: &UpSettings,
) -> anyhow::Result<Option<(String, PathBuf)>> {
    if settings.dev_keys.is_none() {
        return Ok(None);
    }
    let auth = &settings.command.auth;
    let signer = token::signer(home)?.for_audience(&auth.issuer, &auth.audience);
    let claims = Claims {
        tenant: TENANT_DEFAULT.to_owned(),
        sub: "newcomer".to_owned(),
        role: Role::Admin,
    };
    let token = signer.sign(&claims, TOKEN_LIFETIME)?;
    let file = home.path().join("token");
    write_private(&file, format!("{token}\n").as_bytes())?;
    Ok(Some((token, file)))
}
