//! A connection on which one request goes after the other.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer::Head;

/// Longer than any answer of a single user.
const BUFFER: usize = 4096;
/// For a single request outside of a measurement.
const FETCH_WITHIN: Duration = Duration::from_secs(10);

const UNAVAILABLE: u16 = 503;
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line, headers and the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Asks once, on a connection of its own.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn fetch(address: SocketAddr, request: &[u8]) -> anyhow::Result<Answer> {
    let asked = async {
        let mut connection = Connection::open(address).await?;
        let head = connection.ask(request).await?;
        let (text, body) = connection.buffer.split_at(head.length);
        Ok(Answer {
            status: head.status,
            head: String::from_utf8(text.to_vec())?,
            body: body.to_vec(),
        })
    };
    let answer = tokio::time::timeout(FETCH_WITHIN, asked).await;
    answer.context("no answer in time")?
}

/// Open until it is dropped.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Asks and reads the whole answer, which must have this status.
    pub(super) async fn exchange(&mut self, request: &[u8], expected: u16) -> anyhow::Result<()> {
        let head = self.ask(request).await?;
        self.check(head, expected)
    }

    /// The same, again while the server has no time for it: 503 says that nothing was done.
    pub(super) async fn insist(&mut self, request: &[u8], expected: u16) -> anyhow::Result<()> {
        loop {
            let head = self.ask(request).await?;
            if head.status != UNAVAILABLE {
                return self.check(head, expected);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    fn check(&self, head: Head, expected: u16) -> anyhow::Result<()> {
        if head.status != expected {
            let answer = String::from_utf8_lossy(&self.buffer);
            bail!("answered {} instead of {expected}: {answer}", head.status);
        }
        Ok(())
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Head> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed a connection");
            if let Some(head) = Head::read(&self.buffer)?
                && self.buffer.len() >= head.whole()
            {
                ensure!(
                    self.buffer.len() == head.whole(),
                    "bytes that nobody asked for"
                );
                return Ok(head);
            }
        }
    }
}
