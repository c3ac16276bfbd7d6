//! Pools of PostgreSQL connections that cannot surprise: bounded waits, bounded statements, no
//! transaction left open on a pooled session, and no password in any message.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

use crate::config::{DatabaseSettings, SessionTimeouts};
use crate::metrics;

/// A connection that was idle for so long is tested before it is handed out. Under load none is,
/// and without load the round trip does not matter.
const TESTED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// What a caller does with each new connection before the pool hands it out, such as the store's
/// incarnation check. An error closes the connection and fails the acquire.
pub type AfterConnect = Arc<
    dyn for<'c> Fn(
            &'c mut PgConnection,
        ) -> Pin<Box<dyn Future<Output = sqlx::Result<()>> + Send + 'c>>
        + Send
        + Sync,
>;

/// One pool's part of the settings.
#[derive(Clone)]
pub struct PoolPlan {
    /// Shown as `application_name` (`runnel/<name>`) and in `db_pool_connections{pool}`.
    pub name: &'static str,
    /// Connections; a hot pool keeps them all open.
    pub size: u32,
    /// A hot pool's minimum is its maximum; another one starts empty and shrinks when idle.
    pub hot: bool,
    /// Time-outs of its sessions; [`SessionTimeouts::NONE`] for migrations and rebuilds.
    pub session: SessionTimeouts,
    /// Run on each new connection.
    pub after_connect: Option<AfterConnect>,
    /// Whether anybody begins transactions on it.
    pub transactions: bool,
}

impl PoolPlan {
    /// A hot pool with the settings' time-outs.
    #[must_use]
    pub fn hot(name: &'static str, size: u32, settings: &DatabaseSettings) -> PoolPlan {
        PoolPlan {
            name,
            size,
            hot: true,
            session: settings.session,
            after_connect: None,
            transactions: true,
        }
    }

    /// A pool that is mostly idle, without time-outs on its statements.
    #[must_use]
    pub fn unhurried(name: &'static str, size: u32) -> PoolPlan {
        PoolPlan {
            name,
            size,
            hot: false,
            session: SessionTimeouts::NONE,
            after_connect: None,
            transactions: true,
        }
    }

    /// Runs something on each new connection.
    #[must_use]
    pub fn after_connect(mut self, hook: AfterConnect) -> PoolPlan {
        self.after_connect = Some(hook);
        self
    }

    /// Says that nobody begins a transaction on it: no connection is asked for a forgotten one when
    /// it comes back, which is a round trip.
    #[must_use]
    pub fn without_transactions(mut self) -> PoolPlan {
        self.transactions = false;
        self
    }
}

impl SessionTimeouts {
    /// No time-outs, for work that may take as long as it takes.
    pub const NONE: SessionTimeouts = SessionTimeouts {
        statement: Duration::ZERO,
        lock: Duration::ZERO,
        idle_in_transaction: Duration::ZERO,
    };
}

/// How a connection of this name and with these time-outs is made.
///
/// # Errors
/// When the URL is not one; its text is not in the error.
pub fn connect_options(
    settings: &DatabaseSettings,
    name: &str,
    session: SessionTimeouts,
) -> Result<PgConnectOptions, InvalidDatabaseUrl> {
    let url = settings.url.expose_secret();
    let options = PgConnectOptions::from_str(url).map_err(|_| InvalidDatabaseUrl)?;
    Ok(with_session(options, name, session))
}

/// The same for options that somebody else made, such as a test database's.
#[must_use]
pub fn with_session(
    options: PgConnectOptions,
    name: &str,
    session: SessionTimeouts,
) -> PgConnectOptions {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    options
        .application_name(&format!("runnel/{name}"))
        .options([
            ("statement_timeout", milliseconds(session.statement)),
            ("lock_timeout", milliseconds(session.lock)),
            (
                "idle_in_transaction_session_timeout",
                milliseconds(session.idle_in_transaction),
            ),
            ("timezone", "UTC".to_owned()),
        ])
}

/// The URL is not `postgres://…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database URL is not postgres://user:password@host:port/database")]
pub struct InvalidDatabaseUrl;

/// Makes a pool. It connects in the background: a process starts while PostgreSQL is down, and
/// its readiness check says so.
///
/// # Errors
/// When the URL is not one.
pub fn pool(settings: &DatabaseSettings, plan: PoolPlan) -> Result<PgPool, InvalidDatabaseUrl> {
    let options = connect_options(settings, plan.name, plan.session)?;
    Ok(pool_with(settings, plan, options))
}

fn pool_with(settings: &DatabaseSettings, plan: PoolPlan, options: PgConnectOptions) -> PgPool {
    let PoolPlan {
        name,
        size,
        hot,
        after_connect,
        transactions,
        ..
    } = plan;
    let builder = PgPoolOptions::new()
        .max_connections(size)
        .min_connections(if hot { size } else { 0 })
        .acquire_timeout(settings.acquire_timeout)
        .max_lifetime(settings.connection_lifetime)
        .idle_timeout((!hot).then_some(settings.idle_timeout))
        // A connection is tested when it comes back; testing it again each time before it is handed
        // out would cost every read a round trip. The server may have ended one that was idle.
        .test_before_acquire(false)
        .before_acquire(|connection, session| {
            Box::pin(async move {
                if session.idle_for >= TESTED_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let hook = after_connect.clone();
            Box::pin(async move {
                match hook {
                    Some(hook) => hook(connection).await,
                    None => Ok(()),
                }
            })
        });
    let builder = if transactions {
        builder.after_release(|connection, _| Box::pin(close_transaction(connection)))
    } else {
        builder
    };
    let pool = builder.connect_lazy_with(options);
    metrics::watch_pool(name, &pool);
    pool
}

/// Opens a hot pool's connections, so that the first requests need not. It tries for as long as a
/// request would wait for one.
pub(crate) async fn warm(pool: PgPool) {
    let wanted = pool.options().get_min_connections();
    let opened = join_all((0..wanted).map(|_| pool.acquire())).await;
    let missing = opened.iter().filter(|opened| opened.is_err()).count();
    if missing > 0 {
        tracing::warn!(missing, wanted, "not every connection could be opened");
    }
}

/// Ends a transaction that nobody knows of. sqlx 0.8.6 forgets a `begin()` that was cancelled
/// after it was sent (transact-rs/sqlx#4385), and the session would go on inside it.
///
/// sqlx keeps the session's real state to itself, but `begin_with` looks at it: after a statement
/// that begins nothing it fails with `BeginFailed`, unless a transaction was open already.
async fn close_transaction(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match connection.begin_with("select").await {
        Err(sqlx::Error::BeginFailed) => Ok(true),
        Ok(forgotten) => {
            forgotten.rollback().await?;
            tracing::debug!("rolled back a transaction that a cancelled request left open");
            Ok(true)
        }
        // An aborted transaction or one that sqlx believes open: not worth saving.
        Err(_) => Ok(false),
    }
}
