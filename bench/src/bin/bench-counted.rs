//! Our services behind an allocator that counts: what `bench memory` asks. A program of its own,
//! because a program has one allocator, and six shared counters an allocation would slow what
//! else is measured. Counted is what is asked of the allocator, the same for any one; underneath
//! is the system's, because the counting crate wraps no other in a static.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use clap::Subcommand;
use platform::admin::{AdminPort, Readiness};
use platform::config::{AdminArgs, Problems, TelemetryArgs, parse_or_exit};
use platform::shutdown::Shutdown;
use platform::telemetry;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A service whose allocations are counted; for `bench memory`.
#[derive(clap::Parser)]
#[command(name = "bench-counted", version)]
struct Cli {
    #[command(subcommand)]
    service: Service,
    /// Where the counters are read: a connection gets a line of allocations and bytes
    #[arg(long, env = "BENCH_COUNTERS")]
    counters: SocketAddr,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[derive(Subcommand)]
enum Service {
    /// As the program of this name.
    QueryApi(Box<query_api::ServiceArgs>),
    /// As the program of this name.
    CommandApi(Box<command_api::ServiceArgs>),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli: Cli = parse_or_exit();
    let mut problems = Problems::default();
    let admin = cli.admin.validate("127.0.0.1:9080", &mut problems);
    let telemetry = cli.telemetry.validate(&mut problems);
    problems.check_or_exit();
    tell_counters(cli.counters)?;

    let guard = telemetry::init("bench-counted", &telemetry)?;
    let (readiness, shutdown) = (Readiness::starting(), Shutdown::new());
    let admin = AdminPort::open(admin.listen, readiness.clone()).context("ADMIN_LISTEN")?;
    match cli.service {
        Service::QueryApi(args) => query_api(&args, readiness, shutdown).await?,
        Service::CommandApi(args) => command_api(&args, readiness, shutdown).await?,
    }
    admin.close().await?;
    guard.flush().await;
    Ok(())
}

async fn query_api(
    args: &query_api::ServiceArgs,
    readiness: Readiness,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let config = args.validate(&mut problems);
    problems.check_or_exit();
    shutdown.drain_on_signals(readiness.clone(), config.shutdown)?;
    let build = query_api::Application::build(config, query_api::News::Listen, &readiness);
    if let Some(application) = shutdown.unless_draining(build).await.transpose()? {
        readiness.started();
        application.run_until(shutdown.stopped()).await?;
    }
    Ok(())
}

async fn command_api(
    args: &command_api::ServiceArgs,
    readiness: Readiness,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let config = args.validate(&mut problems);
    problems.check_or_exit();
    shutdown.drain_on_signals(readiness.clone(), config.shutdown)?;
    let build = command_api::Application::build(config, &readiness);
    if let Some(application) = shutdown.unless_draining(build).await.transpose()? {
        readiness.started();
        application.run_until(shutdown.stopped()).await?;
    }
    Ok(())
}

/// A thread that writes `allocations bytes` to whoever connects. What a reallocation adds counts as
/// bytes, and a reallocation as an allocation.
fn tell_counters(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).context("BENCH_COUNTERS")?;
    let tell = move || {
        for mut connection in listener.incoming().flatten() {
            let stats = ALLOCATOR.stats();
            let allocations = stats.allocations + stats.reallocations;
            // Whoever left does not want to know.
            drop(writeln!(
                connection,
                "{allocations} {}",
                stats.bytes_allocated
            ));
        }
    };
    let thread = std::thread::Builder::new().name("counters".to_owned());
    thread.spawn(tell)?;
    Ok(())
}
