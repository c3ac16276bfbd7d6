//! The service from settings to a running server, and back to nothing without losing a command.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::web;
use domain::User;
use event_store::aggregates::{AggregateSettings, Aggregates, Codec, EncodedEvent};
use event_store::{
    AppendSettings, Appender, EventStore, Heads, OpenError, StartError, incarnation,
};
use events::UserEvent;
use platform::admin::Readiness;
use platform::auth::{AuthError, Verifier};
use platform::config::{DatabaseSettings, SessionTimeouts};
use platform::database::{self, AfterConnect, InvalidDatabaseUrl, PoolPlan};
use platform::http::{Api, HttpStack, serve};
use platform::metrics::QUEUE_DEPTH;
use platform::shutdown::finish_within;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{CommandSettings, Config};
use crate::limits::Limits;
use crate::relaying::Relaying;
use crate::service::Service;
use crate::{metrics, openapi, routes};

/// The `service` label of this API's metrics and the name of its process.
pub const SERVICE: &str = "command-api";

/// How often the store is tried again at start, and for how long.
const OPEN_AGAIN: Duration = Duration::from_millis(250);
const OPEN_TRIES_MAX: u32 = 120;

/// How often `queue_depth` is brought up to date.
const QUEUE_DEPTH_INTERVAL: Duration = Duration::from_secs(1);

/// Why the service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be listened to.
    #[error("cannot listen on {address} (COMMAND_LISTEN)")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server cannot be made.
    #[error("the HTTP server cannot be started")]
    Server(#[source] std::io::Error),
    /// The database's URL is not one.
    #[error(transparent)]
    Url(#[from] InvalidDatabaseUrl),
    /// The store cannot be opened.
    #[error("the event store cannot be opened")]
    Open(#[from] OpenError),
    /// Claims and cursors would not be found again.
    #[error("SECRET_KEY is not the one that the event store was created with")]
    OtherSecret,
    /// The append cannot be started.
    #[error("the append cannot be started")]
    Append(#[from] StartError),
    /// Tokens cannot be verified.
    #[error("tokens cannot be verified")]
    Auth(#[from] AuthError),
}

/// The built service; it accepts connections from now on and answers them once it runs.
pub struct Application {
    port: u16,
    server: Server,
    service: Service,
    appender: Appender,
    relaying: Relaying,
    pool: PgPool,
    queues: JoinHandle<()>,
    grace: Duration,
}

impl Application {
    /// Binds the port, opens the store and starts the append. Call it on the multi-threaded runtime
    /// that commands shall run on; `readiness` is the process's.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(config: Config, readiness: &Readiness) -> Result<Self, BuildError> {
        let address = config.command.listen;
        let listener =
            TcpListener::bind(address).map_err(|source| BuildError::Listen { address, source })?;
        let port = listener.local_addr().map_err(BuildError::Server)?.port();
        let pool = pool(&config.database)?;
        let store = open(&pool).await?;
        if store.secret_fingerprint() != config.secret.key.fingerprint() {
            return Err(BuildError::OtherSecret);
        }
        readiness.check_database("command_database", pool.clone());
        readiness.check_warm("command_connections", pool.clone());
        let lanes = database::connect_options(&config.database, "append", SessionTimeouts::NONE)?;
        let appender = Appender::start(store.clone(), lanes, append_settings(&config.command))?;
        let relaying = Relaying::start(&config, &store, &appender, readiness)?;
        let service = service(&config, store, appender.clone());
        let verifier = Verifier::start(config.auth.clone(), config.process.mode).await?;
        readiness.check_keys("command_keys", verifier.clone());
        let stack = HttpStack::new(SERVICE, config.http.clone(), verifier, readiness);
        let server = server(&stack, listener, &config, service.clone())?;
        let queues = tokio::spawn(show_queues(appender.clone(), service.clone()));
        let grace = config.shutdown.grace;
        Ok(Self {
            port,
            server,
            service,
            appender,
            relaying,
            pool,
            queues,
            grace,
        })
    }

    /// The port that it listens on; settings may have asked for any (0).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Tells in this process when events were appended, so that a projector beside it need not
    /// poll.
    #[must_use]
    pub fn heads_changed(&self) -> watch::Receiver<Heads> {
        self.appender.heads_changed()
    }

    /// Serves until `shutdown` ends; then takes no more requests, finishes those that run and the
    /// commands whose clients have gone, and closes the store.
    ///
    /// # Errors
    /// When the server fails before it is asked to stop.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self {
            server,
            service,
            appender,
            mut relaying,
            pool,
            queues,
            grace,
            ..
        } = self;
        let handle = server.handle();
        let mut serving = tokio::spawn(server);
        let ended = tokio::select! {
            ended = &mut serving => Some(ended),
            failed = relaying.failed() => Some(Ok(Err(failed))),
            () = shutdown => None,
        };
        let begun = Instant::now();
        handle.stop(true).await;
        service.tasks().close();
        // One grace for both: whoever ordered the stop counts from the order on.
        let left = grace.saturating_sub(begun.elapsed());
        finish_within("commands", left, service.tasks().wait()).await;
        appender.shutdown().await;
        // Last: it finishes what it has sent. What the drained commands appended after that is
        // relayed by whoever takes its leases over.
        relaying.stop().await;
        queues.abort();
        pool.close().await;
        match ended {
            Some(ended) => ended.unwrap_or_else(|failed| Err(std::io::Error::other(failed))),
            None => Ok(()),
        }
    }
}

fn pool(settings: &DatabaseSettings) -> Result<PgPool, InvalidDatabaseUrl> {
    let check: AfterConnect = Arc::new(|connection| {
        Box::pin(async move {
            let entered = incarnation::enter(connection).await;
            entered
                .map(drop)
                .map_err(|error| sqlx::Error::AnyDriverError(Box::new(error)))
        })
    });
    let plan = PoolPlan::hot("command", settings.pools.command, settings).after_connect(check);
    database::pool(settings, plan)
}

/// Opens the store, and waits for a database that is still starting.
async fn open(pool: &PgPool) -> Result<EventStore, OpenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match EventStore::open(pool.clone()).await {
            Err(OpenError::Database(error)) if tries < OPEN_TRIES_MAX && is_away(&error) => {
                if tries == 1 {
                    let error = platform::telemetry::chain(&error);
                    tracing::warn!(%error, "waiting for the database");
                }
                tokio::time::sleep(OPEN_AGAIN).await;
            }
            opened => return opened,
        }
    }
}

/// Not reachable, or not ready for connections (SQLSTATE 57P03).
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "57P03"),
        _ => false,
    }
}

fn append_settings(settings: &CommandSettings) -> AppendSettings {
    AppendSettings {
        lanes: settings.append_lanes,
        queue_max: settings.append_queue_max,
        batch_max: settings.append_batch_max,
        window_streams: settings.append_window_streams,
        tail_max: settings.append_tail_max,
        outcome_retention: settings.outcome_retention,
        ..AppendSettings::default()
    }
}

fn service(config: &Config, store: EventStore, appender: Appender) -> Service {
    for route in &routes::ROUTES {
        metrics::register(route.command);
    }
    let settings = AggregateSettings {
        cache_bytes_max: config.command.aggregate_cache_max,
        mailbox_max: config.command.mailbox_max,
    };
    let users = Aggregates::<User>::new(store.clone(), appender, user_codec(), settings);
    Service::new(store, users, &config.secret.key, config.command.deadline)
}

fn user_codec() -> Codec<UserEvent> {
    Codec {
        decode: events::decode,
        encode: |event| {
            let (event_type, event_version) = (event.type_name(), event.version());
            Ok(EncodedEvent {
                event_type,
                event_version,
                payload: event.payload()?,
            })
        },
    }
}

fn server(
    stack: &HttpStack,
    listener: TcpListener,
    config: &Config,
    service: Service,
) -> Result<Server, BuildError> {
    let limits = Limits::new(config, service.store().partitions().get());
    let (service, limits) = (web::Data::new(service), web::Data::new(limits));
    let api = Api {
        openapi: openapi::document(),
        routes: move |config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>| {
            config.app_data(service.clone()).app_data(limits.clone());
            config.map(|config| {
                routes::configure(config);
                config
            });
        },
    };
    let (workers, grace) = (config.process.worker_threads, config.shutdown.grace);
    serve(stack, listener, workers, grace, api).map_err(BuildError::Server)
}

/// Shows how full the queues are; ended by abort.
async fn show_queues(appender: Appender, service: Service) {
    let show = |queue, depth: usize| {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        QUEUE_DEPTH.with_label_values(&[queue]).set(depth);
    };
    loop {
        show("append", appender.queue_depths().into_iter().sum());
        show("commands", service.tasks().len());
        tokio::time::sleep(QUEUE_DEPTH_INTERVAL).await;
    }
}
