//! The consistency token: `1.3.1042` says "incarnation 1, partition 3, position 1042"; several are
//! joined by `_`. Clients hand it back as they got it; a read that carries it never shows an older
//! state.

use std::fmt;
use std::str::FromStr;

use crate::address::{Address, Partition, PartitionCount};

/// One address in a token, with its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenEntry {
    /// The incarnation of the store that gave out the address.
    pub incarnation: i32,
    /// The address.
    pub address: Address,
}

/// What a client has seen: at most one address a partition and incarnation as given, in the order
/// given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConsistencyToken(Vec<TokenEntry>);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not read `incarnation.partition.position`, joined by `_`.
    #[error(
        "a consistency token reads like 1.3.1042, several joined by _; send it back as you got it"
    )]
    Malformed,
    /// It has more entries than a store can have partitions.
    #[error("a consistency token has at most one entry per partition")]
    TooLong,
}

impl ConsistencyToken {
    /// A token from its entries.
    #[must_use]
    pub fn new(entries: Vec<TokenEntry>) -> Self {
        Self(entries)
    }

    /// The token of one address.
    #[must_use]
    pub fn of(incarnation: i32, address: Address) -> Self {
        Self(vec![TokenEntry {
            incarnation,
            address,
        }])
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[TokenEntry] {
        &self.0
    }

    /// Whether it says nothing (a store without any event).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            index,
            TokenEntry {
                incarnation,
                address,
            },
        ) in self.0.iter().enumerate()
        {
            let joint = if index == 0 { "" } else { "_" };
            write!(
                f,
                "{joint}{incarnation}.{}.{}",
                address.partition, address.position
            )?;
        }
        Ok(())
    }
}

impl FromStr for ConsistencyToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let entries: Vec<_> = text
            .split('_')
            .map(parse_entry)
            .collect::<Option<_>>()
            .ok_or(TokenError::Malformed)?;
        if entries.len() > usize::from(PartitionCount::MAX) {
            return Err(TokenError::TooLong);
        }
        Ok(Self(entries))
    }
}

fn parse_entry(text: &str) -> Option<TokenEntry> {
    let mut parts = text.split('.');
    let incarnation = number(parts.next()?)?;
    let partition = Partition::try_from(number::<i32>(parts.next()?)?).ok()?;
    let position = number(parts.next()?)?;
    parts.next().is_none().then_some(TokenEntry {
        incarnation,
        address: Address {
            partition,
            position,
        },
    })
}

/// Decimal digits only: no sign, no space, no leading zero but `0` itself, so that a token has one
/// spelling.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        for text in ["1.3.1042", "1.3.1042_2.0.7", "1.0.0"] {
            let token: ConsistencyToken = text.parse().expect("a token");
            assert_eq!(token.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "1.3",
            "1.3.4.5",
            "1.3.-4",
            "+1.3.4",
            "01.3.4",
            "1.99999999.4",
            "1.3.4_",
            "a.b.c",
            "1.3.9223372036854775808",
        ] {
            assert_eq!(
                text.parse::<ConsistencyToken>(),
                Err(TokenError::Malformed),
                "{text}"
            );
        }
        let long = vec!["1.0.1"; 1025].join("_");
        assert_eq!(long.parse::<ConsistencyToken>(), Err(TokenError::TooLong));
    }
}
