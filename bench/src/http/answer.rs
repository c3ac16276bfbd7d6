//! Where an answer ends and what its status is: all that a benchmark wants to know of it.

use anyhow::{Context as _, bail};

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Bytes up to and with the empty line.
    pub(super) length: usize,
    /// Bytes of the body that follows.
    pub(super) body: usize,
}

impl Head {
    /// The head at the beginning of these bytes; none while it is not whole.
    ///
    /// # Errors
    /// When it is not that of an HTTP/1.1 answer that is framed by its length.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let (mut at, mut status, mut body) = (0, None, None);
        while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = bytes[at..at + length].trim_ascii_end();
            at += length + 1;
            match (status, line) {
                (None, line) => status = Some(status_of(line)?),
                (Some(status), []) => {
                    let bodiless = matches!(status, 204 | 304).then_some(0);
                    let body = bodiless
                        .or(body)
                        .context("an answer has a content-length")?;
                    return Ok(Some(Self {
                        status,
                        length: at,
                        body,
                    }));
                }
                (Some(_), line) => {
                    if let Some(value) = value_of(line, b"content-length") {
                        body = Some(std::str::from_utf8(value)?.parse()?);
                    }
                    if value_of(line, b"transfer-encoding").is_some() {
                        bail!("an answer has a transfer-encoding");
                    }
                }
            }
        }
        Ok(None)
    }

    /// Bytes of the whole answer.
    pub(super) fn whole(&self) -> usize {
        self.length + self.body
    }
}

fn status_of(line: &[u8]) -> anyhow::Result<u16> {
    let status = line
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status.context("an answer begins with HTTP/1.1 and a status")?;
    Ok(std::str::from_utf8(status)?.parse()?)
}

/// The value of the header line, if it is that header's.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\netag: \"v1\"\r\n\r\n{\"id\":\"abc\"}";

    #[test]
    fn an_answer_is_read_when_its_head_is_whole_and_not_before() {
        let head = Head::read(ANSWER).unwrap().unwrap();
        assert_eq!((head.status, head.body), (201, 12));
        assert_eq!(head.whole(), ANSWER.len());
        for length in 0..head.length {
            assert_eq!(Head::read(&ANSWER[..length]).unwrap(), None, "{length}");
        }
    }

    #[test]
    fn what_is_not_framed_by_its_length_is_refused_unless_it_has_no_body() {
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(Head::read(chunked).is_err());
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Head::read(b"HTTP/1.0 200 OK\r\n").is_err());
        let unchanged = Head::read(b"HTTP/1.1 304 Not Modified\r\n\r\n");
        assert_eq!(unchanged.unwrap().unwrap().body, 0);
    }
}
