//! Whose word counts for a client's address.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;

/// An address, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyNet {
    /// An address in the network.
    pub address: IpAddr,
    /// How many of its leading bits count.
    pub prefix: u8,
}

impl ProxyNet {
    /// True for an address of this network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same_bits(a.to_bits(), b.to_bits(), prefix, 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let (a, b) = (a.to_bits(), b.to_bits());
                prefix == 0 || (a ^ b).checked_shr(128 - prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn same_bits(a: u32, b: u32, prefix: u32, width: u32) -> bool {
    prefix == 0 || (a ^ b).checked_shr(width - prefix).unwrap_or(0) == 0
}

/// The client's address: the peer's, or, when that is a trusted proxy, the last address of
/// `X-Forwarded-For` that is not one. What a client writes there itself stands further left.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[ProxyNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(address));
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    let forwarded = headers
        .get_all("x-forwarded-for")
        .filter_map(|v| v.to_str().ok());
    let all: Vec<&str> = forwarded
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut client = peer;
    for entry in all.iter().rev() {
        let Ok(address) = entry.parse() else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn forwarded_addresses_count_only_behind_trusted_proxies() {
        let net = |text: &str, prefix| ProxyNet {
            address: text.parse().unwrap(),
            prefix,
        };
        let trusted = [net("10.0.0.0", 8), net("fd00::", 8)];
        let check = |peer: &str, forwarded: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            let name = HeaderName::from_static("x-forwarded-for");
            headers.insert(name, HeaderValue::from_str(forwarded).unwrap());
            let found = client_address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(
                found,
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {forwarded}"
            );
        };
        check("203.0.113.9", "198.51.100.1", "203.0.113.9");
        check("10.1.1.1", "198.51.100.1", "198.51.100.1");
        check(
            "10.1.1.1",
            "6.6.6.6, 198.51.100.1, 10.2.2.2",
            "198.51.100.1",
        );
        check("10.1.1.1", "rubbish, 10.2.2.2", "10.2.2.2");
        check("10.1.1.1", "rubbish", "10.1.1.1");
        check("fd12::1", "2001:db8::5", "2001:db8::5");
    }
}
