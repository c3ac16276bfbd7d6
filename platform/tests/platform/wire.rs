//! A client that sends exactly the bytes that a test wants, at the pace that it wants.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) async fn connect(port: u16) -> Wire {
        Wire {
            stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends until the server no longer listens; false when it hung up.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Waits for the first byte of an answer and leaves the rest unread.
    pub(crate) async fn answer_begins(&mut self) {
        self.stream.read_u8().await.unwrap();
    }

    /// Reads until the server closes the connection, at most for `time`. None when it did not.
    pub(crate) async fn read_to_end(&mut self, time: Duration) -> Option<String> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(time, self.stream.read_to_end(&mut bytes))
            .await
            .ok()?;
        // A reset after the answer is an end like any other.
        let _ = read;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads one answer with a `Content-Length`.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut text = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "closed after: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&chunk[..read]);
            if let Some(answer) = parse(&String::from_utf8_lossy(&text)) {
                return answer;
            }
        }
    }
}

/// A whole answer, or None while some of it is missing.
pub(crate) fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() >= length.unwrap_or(0)).then(|| Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}
