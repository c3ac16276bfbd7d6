//! One connection to one run of the server, with the scripts loaded.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo as _, RedisError};
use secrecy::ExposeSecret as _;

use crate::config::RedisSettings;

/// A connection that is silent for so long is probed,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// so often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// and given up after so many probes.
const KEEPALIVE_PROBES: u32 = 3;
/// What was sent and is not acknowledged after this time ends the connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Which run of the server it leads to.
    pub(super) run_id: Arc<str>,
}

/// A client whose sockets notice a peer that is gone; the library sets neither by itself.
pub(super) fn client(settings: &RedisSettings) -> Result<Client, RedisError> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(UNACKNOWLEDGED_MAX);
    let info = settings.url.expose_secret().into_connection_info()?;
    Client::open(info.set_tcp_settings(tcp))
}

impl Link {
    /// Connects, loads the scripts and asks which run of the server this is. The caller bounds it.
    pub(super) async fn connect(
        client: &Client,
        scripts: &'static [&'static str],
    ) -> Result<Self, RedisError> {
        // Budgets are kept outside, where they count the wait for a connection, too.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut pipeline = redis::pipe();
        for script in scripts {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(*script).ignore();
        }
        pipeline.cmd("INFO").arg("server");
        let (info,): (String,) = pipeline.query_async(&mut connection).await?;
        let run_id = info
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"))
            .ok_or((ErrorKind::UnexpectedReturnType, "INFO names no run_id"))?;
        Ok(Self {
            run_id: run_id.trim().into(),
            connection,
        })
    }
}
