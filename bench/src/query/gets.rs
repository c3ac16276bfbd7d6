//! Requests for one user after the other, any of them with the same chance. A request is made once
//! for each connection; only the id in it changes.

use std::net::SocketAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::http::Requests;
use crate::people::People;

/// A connection's requests.
pub(crate) struct Gets {
    request: Vec<u8>,
    at: usize,
    ids: Arc<[Uuid]>,
    people: People,
}

impl Gets {
    /// Of these users, by this token; the number is the connection's, and its seed.
    pub(crate) fn new(address: SocketAddr, token: &str, ids: Arc<[Uuid]>, number: usize) -> Self {
        let seed = u64::try_from(number).unwrap_or_default();
        Self {
            request: request(address, token, Uuid::nil()),
            at: BEGINNING.len(),
            ids,
            people: People::new(seed),
        }
    }
}

impl Requests for Gets {
    fn next(&mut self) -> &[u8] {
        let id = self.ids[self.people.index(self.ids.len())];
        let id_of = &mut self.request[self.at..self.at + uuid::fmt::Hyphenated::LENGTH];
        id.hyphenated().encode_lower(id_of);
        &self.request
    }
}

const BEGINNING: &str = "GET /v1/users/";

/// One such request.
pub(crate) fn request(address: SocketAddr, token: &str, id: Uuid) -> Vec<u8> {
    let rest = format!("HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    format!("{BEGINNING}{id} {rest}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_names_one_of_the_users_and_is_whole() {
        let ids: Arc<[Uuid]> = (0..3).map(Uuid::from_u128).collect();
        let address = "127.0.0.1:8081".parse().unwrap();
        let mut gets = Gets::new(address, "t", Arc::clone(&ids), 0);
        for _ in 0..20 {
            let next = gets.next().to_vec();
            assert!(ids.iter().any(|id| next == request(address, "t", *id)));
        }
        let first = request(address, "t", ids[1]);
        let text = String::from_utf8(first).unwrap();
        assert!(
            text.starts_with("GET /v1/users/00000000-0000-0000-0000-000000000001 HTTP/1.1\r\n")
        );
        assert!(text.ends_with("\r\nauthorization: Bearer t\r\n\r\n"));
    }
}
