//! Pure parsers of the units that settings are written in.

use std::net::IpAddr;
use std::time::Duration;

use crate::http::ProxyNet;

/// Reads a duration that carries its unit: `250ms`, `5s`, `1h 30m`. `0` needs none.
///
/// # Errors
/// With a sentence that says what is allowed; a bare number is refused, because half of the
/// world's settings are in seconds and the other half in milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.parse::<f64>().is_ok() {
        return Err(format!(
            "`{text}` has no unit; write it like 250ms, 5s or 10m"
        ));
    }
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration; write it like 250ms, 5s or 10m"))
}

/// Reads a size in bytes: `65536`, `64KiB`, `8MiB`, `1GiB`, and `kB`, `MB`, `GB` as powers of ten.
///
/// # Errors
/// With a sentence that says what is allowed.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is not a size; write it like 65536, 64KiB or 8MiB");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Reads a comma-separated list of proxies, `10.0.0.0/8, 192.168.1.7`.
///
/// # Errors
/// With the entries that are neither an address nor a network.
pub fn parse_proxies(text: &str) -> Result<Vec<ProxyNet>, String> {
    let entries = text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let (good, bad): (Vec<_>, Vec<_>) = entries
        .map(|entry| parse_proxy(entry).ok_or(entry))
        .partition(Result::is_ok);
    if bad.is_empty() {
        return Ok(good.into_iter().filter_map(Result::ok).collect());
    }
    let bad: Vec<&str> = bad.into_iter().filter_map(Result::err).collect();
    Err(format!(
        "not an address or network (10.0.0.0/8): {}",
        bad.join(", ")
    ))
}

fn parse_proxy(entry: &str) -> Option<ProxyNet> {
    let (address, prefix) = match entry.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (entry, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(longest);
    (prefix <= longest).then_some(ProxyNet { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(parse_duration("5").unwrap_err().contains("no unit"));
        assert!(
            parse_duration("soon")
                .unwrap_err()
                .contains("not a duration")
        );
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        assert_eq!(parse_size("65536"), Ok(65_536));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("8 MiB"), Ok(8 << 20));
        assert_eq!(parse_size("1kB"), Ok(1_000));
        for wrong in ["", "KiB", "12 parsecs", "-1", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn proxies_are_addresses_or_networks_and_every_wrong_one_is_named() {
        let proxies = parse_proxies("10.0.0.0/8, 192.168.1.7,::1").unwrap();
        assert_eq!(proxies.len(), 3);
        assert!(proxies[0].contains("10.9.8.7".parse().unwrap()));
        assert!(!proxies[1].contains("192.168.1.8".parse().unwrap()));
        let error = parse_proxies("10.0.0.0/33, elsewhere, 10.0.0.1").unwrap_err();
        assert!(
            error.contains("10.0.0.0/33") && error.contains("elsewhere"),
            "{error}"
        );
    }
}
