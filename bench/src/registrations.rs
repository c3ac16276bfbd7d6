//! Registrations over HTTP: each of another user with another address.

use std::net::SocketAddr;

use uuid::Uuid;
use uuid::fmt::{Hyphenated, Simple};

use crate::http::Requests;

/// A connection's requests. A request is made once; only the id changes, and the address with it.
pub(crate) struct Registrations {
    request: Vec<u8>,
    id_at: usize,
    address_at: usize,
}

impl Registrations {
    /// To this server, by this token.
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        let request = request(address, token, Uuid::nil());
        let body = request.len() - body(Uuid::nil()).len();
        let id_at = body + BEFORE_ID.len();
        Self {
            request,
            id_at,
            address_at: id_at + Hyphenated::LENGTH + BEFORE_ADDRESS.len(),
        }
    }
}

impl Requests for Registrations {
    fn next(&mut self) -> &[u8] {
        let id = Uuid::now_v7();
        let (id_at, address_at) = (self.id_at, self.address_at);
        let place = &mut self.request[id_at..id_at + Hyphenated::LENGTH];
        id.hyphenated().encode_lower(place);
        let place = &mut self.request[address_at..address_at + Simple::LENGTH];
        id.simple().encode_lower(place);
        &self.request
    }
}

const BEFORE_ID: &str = "{\"id\":\"";
const BEFORE_ADDRESS: &str = "\",\"email\":\"";
const AFTER_ADDRESS: &str = "@example.org\",\"name\":\"Ada Lovelace\",\"region\":\"eu-west\",\
    \"bio\":\"Met 0123456789abcdef at a conference and went on from there.\"}";

/// One such request.
pub(crate) fn request(address: SocketAddr, token: &str, id: Uuid) -> Vec<u8> {
    let body = body(id);
    let length = body.len();
    format!(
        "POST /v1/users HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn body(id: Uuid) -> String {
    let address = id.simple();
    format!("{BEFORE_ID}{id}{BEFORE_ADDRESS}{address}{AFTER_ADDRESS}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn sent(request: &[u8]) -> (String, Value) {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn each_request_registers_another_user_with_another_address() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let mut registrations = Registrations::new(address, "t");
        let (head, first) = sent(registrations.next());
        let (_, second) = sent(registrations.next());
        assert!(head.starts_with("POST /v1/users HTTP/1.1\r\n"));
        assert_ne!(first["id"], second["id"]);
        assert_ne!(first["email"], second["email"]);
        for user in [first, second] {
            let id: Uuid = user["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(user["email"], format!("{}@example.org", id.simple()));
        }
    }
}
