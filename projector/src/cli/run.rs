//! `projector run`: the daemon.

use std::net::TcpListener;

use anyhow::Context as _;
use platform::admin::{self, Readiness};
use platform::config::{
    AdminArgs, DatabaseArgs, KafkaArgs, Problems, ProcessArgs, RedisArgs, ShutdownArgs,
    TelemetryArgs,
};
use platform::shutdown::Shutdown;

use crate::application::{Application, ProjectorSettings, Wiring};
use crate::settings::ProjectionArgs;

const ADMIN_DEFAULT: &str = "127.0.0.1:9082";

/// A projector answers no requests, so nobody needs to notice that it is leaving before it leaves.
const SHUTDOWN_WAIT_DEFAULT: &str = "0s";

/// The daemon's settings.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    projection: ProjectionArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

pub(super) async fn run(args: RunArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let redis = args.redis.validate(&mut problems);
    let settings = ProjectorSettings {
        database: args.database.validate(&mut problems),
        engine: args.projection.validate(&mut problems),
        cache: args.projection.cache(redis, &mut problems),
        kafka: args.kafka.validate(&mut problems),
    };
    let admin = args.admin.validate(ADMIN_DEFAULT, &mut problems);
    let telemetry = args.telemetry.validate(&mut problems);
    let stop = args.shutdown.validate(SHUTDOWN_WAIT_DEFAULT, &mut problems);
    args.process.validate(&mut problems);
    problems.check_or_exit();

    let _guard = platform::telemetry::init("projector", &telemetry)?;
    platform::metrics::register();
    let listener = TcpListener::bind(admin.listen)
        .with_context(|| format!("listening on {} (ADMIN_LISTEN)", admin.listen))?;
    tracing::info!(admin = %listener.local_addr()?, "the admin port listens");
    let readiness = Readiness::new();
    let server = admin::serve(listener, readiness.clone())?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    let shutdown = Shutdown::new();
    shutdown.drain_on_signals(readiness.clone(), stop)?;
    let wiring = Wiring {
        readiness,
        ..Wiring::default()
    };
    let application = Application::build(settings, wiring).await?;
    tracing::info!("the projector runs");
    let ended = application.run_until(shutdown.stopped()).await;
    handle.stop(true).await;
    serving.await??;
    tracing::info!("the projector has stopped");
    Ok(ended?)
}
