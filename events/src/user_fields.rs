//! The value objects of a user: parsed once at the edge, and never wrong afterwards. Events hold
//! plain texts, because a rule that is tightened later must not make what is stored unreadable.

use std::fmt;
use std::str::FromStr;

use email_address::{EmailAddress, Options};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use url::Url;

use crate::scope::TenantId;

/// Why a text is not the value: what is allowed, in words for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $parse:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Parses the value.
            ///
            /// # Errors
            /// [`Invalid`], saying what is allowed.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                $parse(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("[", stringify!($name), "]"))
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }
    };
}

text_value!(
    /// An e-mail address, at most 254 bytes.
    Email,
    check_email
);
text_value!(
    /// A name, 1 to 100 characters, not only white space.
    Name,
    check_name
);
text_value!(
    /// A region, `[a-z0-9-]{1,32}`.
    Region,
    check_region
);
text_value!(
    /// A few words, at most 500 characters.
    Bio,
    check_bio
);
text_value!(
    /// An https URL of at most 2,048 characters.
    AvatarUrl,
    check_avatar_url
);

impl Email {
    /// What the address is unique by: NFKC, lower-cased.
    #[must_use]
    pub fn normalised(&self) -> String {
        self.0.nfkc().collect::<String>().to_lowercase()
    }
}

fn check_email(text: &str) -> Result<(), Invalid> {
    const RULE: Invalid = Invalid("must be a valid e-mail address of at most 254 characters");
    let options = Options::default()
        .with_required_tld()
        .without_display_text()
        .without_domain_literal();
    if text.len() > 254 || text.chars().any(char::is_control) {
        return Err(RULE);
    }
    EmailAddress::parse_with_options(text, options)
        .map(drop)
        .map_err(|_| RULE)
}

fn check_name(text: &str) -> Result<(), Invalid> {
    let length_ok = (1..=100).contains(&text.chars().count());
    if !length_ok || text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Invalid(
            "must be 1 to 100 characters, not only white space, without control characters",
        ));
    }
    Ok(())
}

fn check_region(text: &str) -> Result<(), Invalid> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(Invalid("must be 1 to 32 characters of a-z, 0-9 and -"))
}

fn check_bio(text: &str) -> Result<(), Invalid> {
    let control = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if text.chars().count() > 500 || text.chars().any(control) {
        return Err(Invalid(
            "must be at most 500 characters, without control characters but line feed and tab",
        ));
    }
    Ok(())
}

fn check_avatar_url(text: &str) -> Result<(), Invalid> {
    const RULE: Invalid = Invalid("must be an https URL of at most 2048 characters");
    let valid = text.chars().count() <= 2048
        && !text
            .chars()
            .any(|character| character.is_control() || character == ' ')
        && Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.has_host());
    if valid { Ok(()) } else { Err(RULE) }
}

/// What an e-mail address is unique by in its tenant: a keyed hash, so that neither aggregates nor
/// claims hold the address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct EmailKey {
    /// HMAC-SHA-256 of tenant and normalised address, lower-case hex.
    #[serde(with = "hex")]
    #[schemars(with = "String")]
    pub hash: [u8; 32],
    /// Which key made the hash.
    pub key_version: i16,
}

impl EmailKey {
    /// The label under which the secret yields the key of today's hashes. Command and query side
    /// derive the same key.
    pub const LABEL: &str = "email key 1";
    /// Which key that is.
    pub const VERSION: i16 = 1;

    /// The parts that are hashed: `HMAC-SHA-256(key, [tenant, normalised address])`, each part
    /// preceded by its length.
    #[must_use]
    pub fn parts(tenant: &TenantId, email: &Email) -> [Vec<u8>; 2] {
        let address = email.normalised().into_bytes();
        [tenant.as_str().as_bytes().to_vec(), address]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_differ_only_in_case_or_width_are_the_same() {
        let plain = Email::parse("Ada@Example.org").expect("an address");
        assert_eq!(plain.normalised(), "ada@example.org");
        assert_eq!(plain.as_str(), "Ada@Example.org");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "a b@example.org",
            "Ada <ada@example.org>",
            "a\u{0}@example.org",
            "ada@localhost",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("{}@{}.example.org", "a".repeat(60), "b".repeat(190));
        assert!(long.len() > 254 && Email::parse(&long).is_err());
    }

    #[test]
    fn limits_are_met_to_the_character() {
        assert!(Name::parse(&"ä".repeat(100)).is_ok());
        assert!(Name::parse(&"ä".repeat(101)).is_err());
        assert!(Name::parse("   ").is_err());
        assert!(Region::parse("eu-west-1").is_ok());
        assert!(Region::parse("EU").is_err());
        assert!(Region::parse(&"a".repeat(33)).is_err());
        assert!(Bio::parse(&"ü".repeat(500)).is_ok());
        assert!(Bio::parse(&"ü".repeat(501)).is_err());
        let url = |length: usize| format!("https://a.example/{}", "x".repeat(length - 18));
        assert!(AvatarUrl::parse(&url(2048)).is_ok());
        assert!(AvatarUrl::parse(&url(2049)).is_err());
        assert!(AvatarUrl::parse("http://a.example/x").is_err());
        assert!(AvatarUrl::parse("javascript:alert(1)").is_err());
    }

    #[test]
    fn debug_never_shows_a_value() {
        assert_eq!(
            format!("{:?}", Name::parse("Ada").expect("a name")),
            "[Name]"
        );
    }
}
