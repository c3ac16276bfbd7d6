//! The service from settings to a running server.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web;
use events::user_fields::EmailKey;
use platform::admin::{Health, Readiness};
use platform::auth::{AuthError, Verifier};
use platform::breaker::State as Breaker;
use platform::config::DatabaseSettings;
use platform::database::{self, AfterConnect, InvalidDatabaseUrl, PoolPlan};
use platform::http::{Api, HttpStack, serve};
use platform::redis_client::RedisClient;
use read_model::user_view::reads;
use sqlx::{Executor as _, PgConnection, PgPool};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::cursor::Cursors;
use crate::failure::{Failure, is_missing_relation};
use crate::follower::{Follower, LOOK_EVERY};
use crate::l1::L1;
use crate::limits::Limits;
use crate::news::{News, forget_lost_histories, pass_on};
use crate::pushed::Pushed;
use crate::reader::Reader;
use crate::shared_cache::SharedCache;
use crate::state::State;
use crate::{metrics, openapi, routes};

/// The `service` label of this API's metrics and the name of its process.
pub const SERVICE: &str = "query-api";

/// Planning a hot statement anew for each execution costs as much as running it, and none of them
/// has a better plan for some values than for others.
const GENERIC_PLANS: &str = "set plan_cache_mode = force_generic_plan";

/// An answer from Redis is fresh from the last look on; so there are several while it is.
const LOOKS_WHILE_FRESH: u32 = 4;
/// Not more often than that, however short an answer is fresh.
const LOOK_LEAST: Duration = Duration::from_millis(50);

/// Connections that look at the store and listen.
const FOLLOWER_CONNECTIONS: u32 = 2;

/// Why the service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be listened to.
    #[error("cannot listen on {address} (QUERY_LISTEN)")]
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
    /// The URL of Redis is not one.
    #[error("Redis cannot be reached by REDIS_URL")]
    Redis(#[source] redis::RedisError),
    /// Tokens cannot be verified.
    #[error("tokens cannot be verified")]
    Auth(#[from] AuthError),
}

/// The built service; it accepts connections from now on and answers them once it runs.
pub struct Application {
    port: u16,
    server: Server,
    tasks: Vec<JoinHandle<()>>,
    pools: [PgPool; 2],
}

impl Application {
    /// Binds the port and begins to follow the view. The database need not be up: reads say so
    /// until it is. `readiness` is the process's.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(
        config: Config,
        news: News,
        readiness: &Readiness,
    ) -> Result<Self, BuildError> {
        let address = config.query.listen;
        let listener =
            TcpListener::bind(address).map_err(|source| BuildError::Listen { address, source })?;
        let port = listener.local_addr().map_err(BuildError::Server)?.port();
        metrics::register();
        let followed = follower_pool(&config.database)?;
        let look_every = match &config.redis {
            Some(_) => (config.query.cache_fresh / LOOKS_WHILE_FRESH).clamp(LOOK_LEAST, LOOK_EVERY),
            None => LOOK_EVERY,
        };
        let follower = Arc::new(Follower::new(followed.clone(), look_every));
        let pool = query_pool(&config.database, &follower)?;
        let l1 = Arc::new(L1::new(&config.query));
        check_readiness(readiness, &follower);
        readiness.check_warm("query_connections", pool.clone());
        let verifier = Verifier::start(config.auth.clone(), config.process.mode).await?;
        readiness.check_keys("query_keys", verifier.clone());
        let stack = HttpStack::new(SERVICE, config.http.clone(), verifier, readiness);
        let shared = config.redis.clone().map(SharedCache::new);
        let shared = shared.transpose().map_err(BuildError::Redis)?.map(Arc::new);
        let reader = Reader::new(
            pool.clone(),
            Arc::clone(&follower),
            Arc::clone(&l1),
            shared.clone(),
            Cursors::new(&config.secret.key),
        );
        let server = server(&stack, listener, &config, reader)?;
        let mut tasks = Vec::new();
        if let Some(shared) = shared {
            let pushed = Arc::new(Pushed::new(Arc::clone(&follower), Arc::clone(&l1)));
            check_redis(readiness, shared.client.clone(), Arc::clone(&pushed));
            tasks.push(tokio::spawn(
                async move { pushed.hear(&shared.client).await },
            ));
        }
        tasks.extend(follow(follower, l1, news, followed.clone()));
        Ok(Self {
            port,
            server,
            tasks,
            pools: [pool, followed],
        })
    }

    /// The port that it listens on; settings may have asked for any (0).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `shutdown` ends; then takes no more requests and finishes those that run.
    ///
    /// # Errors
    /// When the server fails before it is asked to stop.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self {
            server,
            tasks,
            pools,
            ..
        } = self;
        let handle = server.handle();
        let mut serving = tokio::spawn(server);
        let ended = tokio::select! {
            ended = &mut serving => Some(ended),
            () = shutdown => None,
        };
        handle.stop(true).await;
        tasks.iter().for_each(JoinHandle::abort);
        for pool in pools {
            pool.close().await;
        }
        match ended {
            Some(ended) => ended.unwrap_or_else(|failed| Err(std::io::Error::other(failed))),
            None => Ok(()),
        }
    }
}

fn follow(follower: Arc<Follower>, l1: Arc<L1>, news: News, pool: PgPool) -> Vec<JoinHandle<()>> {
    let looking = Arc::clone(&follower);
    vec![
        tokio::spawn(async move { looking.run().await }),
        tokio::spawn(forget_lost_histories(
            Arc::clone(&follower),
            Arc::clone(&l1),
        )),
        tokio::spawn(pass_on(news, pool, follower, l1)),
    ]
}

fn follower_pool(settings: &DatabaseSettings) -> Result<PgPool, InvalidDatabaseUrl> {
    database::pool(
        settings,
        PoolPlan::hot("query_follower", FOLLOWER_CONNECTIONS, settings),
    )
}

/// Each new connection prepares the hot statements, and is perhaps to another server than before.
fn query_pool(
    settings: &DatabaseSettings,
    follower: &Arc<Follower>,
) -> Result<PgPool, InvalidDatabaseUrl> {
    let follower = Arc::clone(follower);
    let prepare: AfterConnect = Arc::new(move |connection| {
        follower.look_soon();
        Box::pin(prepare(connection))
    });
    let plan = PoolPlan::hot("query", settings.pools.query, settings)
        .after_connect(prepare)
        .without_transactions();
    database::pool(settings, plan)
}

async fn prepare(connection: &mut PgConnection) -> sqlx::Result<()> {
    connection.execute(GENERIC_PLANS).await?;
    for statement in reads::HOT {
        match connection.prepare(statement).await {
            // Nothing was projected yet; the first read prepares it.
            Err(error) if is_missing_relation(&error) => return Ok(()),
            prepared => drop(prepared?),
        }
    }
    Ok(())
}

/// A view that is filled is shown and not failed: it heals by itself.
fn check_readiness(readiness: &Readiness, follower: &Arc<Follower>) {
    let follower = Arc::clone(follower);
    readiness.check("query_database", move || {
        let follower = Arc::clone(&follower);
        async move {
            match follower.look_afresh().await {
                Ok(outlook) if outlook.standing.is_some() => Health::Ok,
                Ok(_) | Err(Failure::Filling) => {
                    Health::Degraded("user_view is being filled".to_owned())
                }
                Err(_) => Health::Failed("the database does not answer".to_owned()),
            }
        }
    });
}

/// Without Redis answers are slower and as right, so its state is shown and never failed.
fn check_redis(readiness: &Readiness, client: RedisClient, pushed: Arc<Pushed>) {
    readiness.check("query_redis", move || {
        let health = match client.state() {
            Breaker::Closed if pushed.is_listening() => Health::Ok,
            Breaker::Closed => Health::Degraded("not subscribed to Redis yet".to_owned()),
            Breaker::HalfOpen => Health::Degraded("Redis is being tried again".to_owned()),
            Breaker::Open => Health::Degraded("Redis failed and is left alone".to_owned()),
        };
        async move { health }
    });
}

fn server(
    stack: &HttpStack,
    listener: TcpListener,
    config: &Config,
    reader: Reader,
) -> Result<Server, BuildError> {
    let state = web::Data::new(State {
        reader: Arc::new(reader),
        settings: config.query.clone(),
        read_deadline: config.http.read_deadline,
        limits: Limits::new(config),
        email_key: config.secret.key.derive(EmailKey::LABEL),
    });
    let api = Api {
        openapi: document(),
        routes: move |service: &mut utoipa_actix_web::service_config::ServiceConfig<'_>| {
            service.app_data(state.clone());
            routes::configure(service);
        },
    };
    let (workers, grace) = (config.process.worker_threads, config.shutdown.grace);
    serve(stack, listener, workers, grace, api).map_err(BuildError::Server)
}

fn document() -> utoipa::openapi::OpenApi {
    static DOCUMENT: OnceLock<utoipa::openapi::OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(openapi::document).clone()
}
