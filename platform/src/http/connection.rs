//! Counts open connections and sets what only the socket can enforce.

use std::any::Any;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Extensions;

use crate::metrics;

/// Counts a connection for as long as it lives in the connection's data.
struct Open;

/// Called by actix-web for each new connection.
pub(super) fn opened(_: &dyn Any, data: &mut Extensions) {
    metrics::ACTIVE_CONNECTIONS.inc();
    data.insert(Open);
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::ACTIVE_CONNECTIONS.dec();
    }
}

/// Ends connections whose client takes no byte for so long (`HTTP_WRITE_TIMEOUT`).
///
/// actix-web has no write timeout. Linux has: with TCP_USER_TIMEOUT a connection whose data is
/// neither acknowledged nor taken (a closed window counts, too) is reset, and a byte of progress
/// starts the time anew. Accepted sockets inherit the listener's value.
pub(super) fn set_write_timeout(listener: &TcpListener, timeout: Duration) -> std::io::Result<()> {
    socket2::SockRef::from(listener).set_tcp_user_timeout(Some(timeout))
}
