//! A TCP proxy in front of PostgreSQL that can be cut and mended.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy; it passes on while it is mended.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    cut: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// A proxy to a server, mended.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cut = Arc::new(watch::Sender::new(false));
        let of_accepts = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cut = of_accepts.subscribe();
                if *cut.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    tokio::select! {
                        _ = cut.wait_for(|cut| *cut) => {}
                        () = pass(client, server) => {}
                    }
                });
            }
        });
        Self { port, cut }
    }

    /// Every connection breaks, and every new one.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// New connections are passed on.
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(server).await {
        // Either side may hang up at any time; that is what a proxy is for.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
