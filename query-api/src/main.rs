//! The read API as a process of its own: parse, observe, build, run, drain.

use anyhow::Context as _;
use platform::admin::{AdminPort, Readiness};
use platform::config::{AdminArgs, Problems, TelemetryArgs, parse_or_exit};
use platform::shutdown::Shutdown;
use platform::telemetry;
use query_api::{Application, News, ServiceArgs};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers queries over HTTP from the views.
#[derive(clap::Parser)]
#[command(name = "query-api", version)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli: Cli = parse_or_exit();
    let mut problems = Problems::default();
    let config = cli.service.validate(&mut problems);
    let admin = cli.admin.validate("127.0.0.1:9081", &mut problems);
    let telemetry = cli.telemetry.validate(&mut problems);
    problems.check_or_exit();

    let guard = telemetry::init(query_api::SERVICE, &telemetry)?;
    let (readiness, shutdown) = (Readiness::starting(), Shutdown::new());
    // Before anything that waits: a database that is away must keep nobody from asking or stopping.
    shutdown.drain_on_signals(readiness.clone(), config.shutdown)?;
    let admin =
        AdminPort::open(admin.listen, readiness.clone()).context("cannot listen (ADMIN_LISTEN)")?;
    let build = Application::build(config, News::Listen, &readiness);
    if let Some(application) = shutdown.unless_draining(build).await.transpose()? {
        readiness.started();
        tracing::info!(port = application.port(), "answering queries");
        application.run_until(shutdown.stopped()).await?;
    }
    admin.close().await?;
    guard.flush().await;
    Ok(())
}
