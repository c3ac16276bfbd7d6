//! A TCP proxy in front of PostgreSQL. It can be away, and it can lose a commit: hold it back while
//! the client is cut off, or swallow it. It reads the frontend's messages only, and of them only
//! where one ends and whether it commits.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// `SSLRequest`: after it the next message has no type byte either.
const SSL_REQUEST: u32 = 80_877_103;
/// Longer than a commit takes.
const COMMIT_MAX: Duration = Duration::from_secs(5);

/// What becomes of the next commit. The client is cut off in any case.
#[derive(Clone, Copy, Debug)]
pub enum CommitFate {
    /// It reaches the server that much later.
    Late(Duration),
    /// It never does.
    Swallowed,
}

/// A proxy; it ends with the test's runtime.
#[derive(Clone)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    server: Mutex<(String, u16)>,
    next_commit: Mutex<Option<CommitFate>>,
    /// Whether connections are carried; each change ends those that there are.
    up: watch::Sender<bool>,
}

impl Proxy {
    /// Listens, in front of this server.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(server: &PgConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            server: Mutex::new(address(server)),
            next_commit: Mutex::new(None),
            up: watch::Sender::new(true),
        });
        tokio::spawn(accept(listener, state.clone()));
        Self { port, state }
    }

    /// The URL of the same database through the proxy.
    #[must_use]
    pub fn url(&self, direct: &PgConnectOptions) -> String {
        use sqlx::ConnectOptions as _;
        let through = direct.clone().host("127.0.0.1").port(self.port);
        through.to_url_lossy().to_string()
    }

    /// From now on it leads to this server; connections to the former one end.
    pub fn lead_to(&self, server: &PgConnectOptions) {
        self.down();
        *self.state.server() = address(server);
        self.up();
    }

    /// PostgreSQL is away: connections end, and new ones end at once.
    pub fn down(&self) {
        self.state.up.send_replace(false);
    }

    /// PostgreSQL is back.
    pub fn up(&self) {
        self.state.up.send_replace(true);
    }

    /// Loses the next commit that comes by.
    pub fn lose_next_commit(&self, fate: CommitFate) {
        *self.state.armed() = Some(fate);
    }

    /// Whether no commit waits to be lost any more.
    #[must_use]
    pub fn has_lost_commit(&self) -> bool {
        self.state.armed().is_none()
    }
}

impl State {
    fn armed(&self) -> std::sync::MutexGuard<'_, Option<CommitFate>> {
        self.next_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self) -> std::sync::MutexGuard<'_, (String, u16)> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(server: &PgConnectOptions) -> (String, u16) {
    (server.get_host().to_owned(), server.get_port())
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let changes = state.up.subscribe();
        if *changes.borrow() {
            tokio::spawn(carry(client, state.clone(), changes));
        }
    }
}

/// Errors are how connections end here; either side sees its own end of them.
async fn carry(
    client: TcpStream,
    state: Arc<State>,
    mut changes: watch::Receiver<bool>,
) -> io::Result<()> {
    let server = state.server().clone();
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let lost = tokio::select! {
        lost = requests(&mut from_client, &mut to_server, &state) => lost?,
        _ = tokio::io::copy(&mut from_server, &mut to_client) => return Ok(()),
        _ = changes.changed() => return Ok(()),
    };
    drop((from_client, to_client));
    if let (commit, CommitFate::Late(delay)) = lost {
        tokio::time::sleep(delay).await;
        to_server.write_all(&commit).await?;
        let mut nobody = tokio::io::sink();
        let answer = tokio::io::copy(&mut from_server, &mut nobody);
        // The server says that it has committed, and waits for more.
        let _ = tokio::time::timeout(COMMIT_MAX, answer).await;
    }
    Ok(())
}

/// Carries messages until one is a commit that is to be lost, and gives that one.
async fn requests(
    client: &mut OwnedReadHalf,
    server: &mut OwnedWriteHalf,
    state: &State,
) -> io::Result<(Vec<u8>, CommitFate)> {
    let mut has_type = false;
    loop {
        let message = read_message(client, has_type).await?;
        let is_ssl_request = message.get(4..8) == Some(&SSL_REQUEST.to_be_bytes()[..]);
        has_type = has_type || !is_ssl_request;
        if is_commit(&message)
            && let Some(fate) = state.armed().take()
        {
            return Ok((message, fate));
        }
        server.write_all(&message).await?;
    }
}

async fn read_message(client: &mut OwnedReadHalf, has_type: bool) -> io::Result<Vec<u8>> {
    let mut message = vec![0; if has_type { 5 } else { 4 }];
    client.read_exact(&mut message).await?;
    let length_at = message.len() - 4;
    let length: [u8; 4] = message[length_at..].try_into().expect("four bytes");
    let length = u32::from_be_bytes(length) as usize;
    message.resize(length_at + length.max(4), 0);
    client.read_exact(&mut message[length_at + 4..]).await?;
    Ok(message)
}

/// A simple query that ends with `commit`.
fn is_commit(message: &[u8]) -> bool {
    let Some((b'Q', rest)) = message.split_first() else {
        return false;
    };
    let text = rest.strip_suffix(&[0]).unwrap_or(rest).trim_ascii_end();
    let text = text.strip_suffix(b";").unwrap_or(text);
    text.to_ascii_lowercase().ends_with(b"commit")
}
