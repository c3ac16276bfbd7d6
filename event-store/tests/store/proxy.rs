//! A TCP proxy before PostgreSQL that counts what a lane sends, and can lose the answer to a
//! commit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to a commit on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It reaches the server; the connection is cut before the answer.
    Answer,
    /// The connection is cut at once; it reaches the server a while later.
    Late,
    /// The connection is cut, and it never reaches the server.
    Whole,
}

#[derive(Debug, Default)]
struct Tap {
    /// Messages that end a round trip: `Query` and `Sync`.
    round_trips: AtomicUsize,
    commits: AtomicUsize,
    losses: Mutex<VecDeque<Loss>>,
    sent: Mutex<Vec<String>>,
}

/// A proxy that lives as long as the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    port: u16,
    tap: Arc<Tap>,
}

impl Proxy {
    pub(crate) async fn before(server: &PgConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let tap = Arc::new(Tap::default());
        let target = (server.get_host().to_owned(), server.get_port());
        let shared = Arc::clone(&tap);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target.clone(), Arc::clone(&shared)));
            }
        });
        Self { port, tap }
    }

    /// The way through the proxy.
    pub(crate) fn options(&self, server: &PgConnectOptions) -> PgConnectOptions {
        server
            .clone()
            .host("127.0.0.1")
            .port(self.port)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Loses one more commit of a lane.
    pub(crate) fn lose_next(&self, loss: Loss) {
        self.tap.losses.lock().expect("no panic").push_back(loss);
    }

    pub(crate) fn commits(&self) -> usize {
        self.tap.commits.load(Ordering::SeqCst)
    }

    /// How many round trips there were since the last call, and the texts that they sent.
    pub(crate) fn take(&self) -> (usize, Vec<String>) {
        let texts = std::mem::take(&mut *self.tap.sent.lock().expect("no panic"));
        (self.tap.round_trips.swap(0, Ordering::SeqCst), texts)
    }
}

async fn relay(client: TcpStream, target: (String, u16), tap: Arc<Tap>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    client.set_nodelay(true).expect("a socket");
    server.set_nodelay(true).expect("a socket");
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let cutting = Arc::new(AtomicBool::new(false));
    let cut = Arc::new(Notify::new());
    let (cutting_up, cut_up) = (Arc::clone(&cutting), Arc::clone(&cut));
    tokio::spawn(async move {
        drop(upstream(client_read, server_write, &tap, &cutting_up, &cut_up).await);
    });
    drop(downstream(server_read, client_write, &cutting, &cut).await);
}

/// Frontend messages: a type byte and a length, but for the first one, which has no type.
async fn upstream(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    tap: &Tap,
    cutting: &AtomicBool,
    cut: &Notify,
) -> std::io::Result<()> {
    let (mut first, mut of_lane) = (true, false);
    loop {
        let kind = if first { 0 } else { client.read_u8().await? };
        let length = client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        of_lane |= first && text.contains("runnel-append");
        let commits = of_lane && kind == b'Q' && text.trim_end_matches('\0').ends_with("commit");
        let loss = commits
            .then(|| tap.losses.lock().expect("no panic").pop_front())
            .flatten();
        cutting.store(loss.is_some(), Ordering::SeqCst);
        if matches!(loss, Some(Loss::Whole | Loss::Late)) {
            cut.notify_one();
        }
        match loss {
            Some(Loss::Whole) => return Ok(()),
            // Less than the second after which the server ends a session that idles in its
            // transaction.
            Some(Loss::Late) => tokio::time::sleep(Duration::from_millis(500)).await,
            Some(Loss::Answer) | None => {}
        }
        if !first {
            server.write_u8(kind).await?;
        }
        server.write_u32(length).await?;
        server.write_all(&body).await?;
        if of_lane && matches!(kind, b'Q' | b'S') {
            tap.round_trips.fetch_add(1, Ordering::SeqCst);
        }
        if commits {
            tap.commits.fetch_add(1, Ordering::SeqCst);
        }
        if of_lane && matches!(kind, b'Q' | b'P') {
            tap.sent.lock().expect("no panic").push(text);
        }
        first = false;
    }
}

async fn downstream(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    cutting: &AtomicBool,
    cut: &Notify,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = tokio::select! {
            count = server.read(&mut buffer) => count?,
            () = cut.notified() => 0,
        };
        // The server has answered the commit, so it is done; the client never hears of it.
        if count == 0 || cutting.load(Ordering::SeqCst) {
            return client.shutdown().await;
        }
        client.write_all(&buffer[..count]).await?;
    }
}
