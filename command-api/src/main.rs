//! The write API as a process of its own: parse, observe, build, run, drain.

use std::net::TcpListener;

use anyhow::Context as _;
use command_api::{Application, ServiceArgs};
use platform::admin::{self, Readiness};
use platform::config::{AdminArgs, Problems, TelemetryArgs, parse_or_exit};
use platform::shutdown::Shutdown;
use platform::telemetry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes commands over HTTP and appends their events.
#[derive(clap::Parser)]
#[command(name = "command-api", version)]
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
    let admin = cli.admin.validate("127.0.0.1:9080", &mut problems);
    let telemetry = cli.telemetry.validate(&mut problems);
    problems.check_or_exit();

    let guard = telemetry::init(command_api::application::SERVICE, &telemetry)?;
    let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
    let stopping = config.shutdown;
    let application = Application::build(config, &readiness).await?;
    let listener = TcpListener::bind(admin.listen).context("cannot listen (ADMIN_LISTEN)")?;
    let admin = admin::serve(listener, readiness.clone())?;
    let admin_handle = admin.handle();
    let admin = tokio::spawn(admin);
    tracing::info!(port = application.port(), "accepting commands");

    shutdown.drain_on_signals(readiness, stopping)?;
    application.run_until(shutdown.stopped()).await?;
    admin_handle.stop(true).await;
    admin.await??;
    guard.flush().await;
    Ok(())
}
