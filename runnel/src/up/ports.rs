//! A port that another program has is found before anything is started, and said by name.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, bail};

/// Binds each address once and lets it go.
///
/// # Errors
/// When one is taken, used twice, or not of this machine. The message names the setting.
pub(super) fn check(wanted: &[(&str, SocketAddr)]) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for (setting, address) in wanted {
        match TcpListener::bind(address) {
            Ok(listener) => held.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "{setting}: {address} is taken by another program. Stop that one, or set \
                 {setting} to another address; port 0 takes a free one"
            ),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{setting}: cannot listen on {address}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (free, port) = ("127.0.0.1:0".parse().unwrap(), taken.local_addr().unwrap());
        let said = check(&[("COMMAND_LISTEN", free), ("QUERY_LISTEN", port)]).unwrap_err();
        assert!(
            said.to_string()
                .starts_with(&format!("QUERY_LISTEN: {port} is taken")),
            "{said}"
        );
    }

    #[test]
    fn one_port_for_two_services_is_refused() {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let said = check(&[("COMMAND_LISTEN", free), ("QUERY_LISTEN", free)]).unwrap_err();
        assert!(said.to_string().contains("QUERY_LISTEN"), "{said}");
    }
}
