//! Collects everything that is wrong with the settings, so that one start tells it all.
//!
//! Each reader returns a placeholder after it has noted a problem. A placeholder cannot leave:
//! [`Problems::check`] refuses while anything is noted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::load::EXIT_USAGE;
use super::parse::{parse_duration, parse_size};

/// One setting that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// The name as in the environment, `HTTP_BODY_MAX`.
    pub name: String,
    /// What is wrong and what is allowed; never the value of a secret.
    pub reason: String,
}

/// All settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings(
    /// In the order in which they were found.
    pub Vec<WrongSetting>,
);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "{count} wrong setting{}:",
            if count == 1 { "" } else { "s" }
        )?;
        for wrong in &self.0 {
            write!(f, "\n  {}: {}", wrong.name, wrong.reason)?;
        }
        Ok(())
    }
}

/// The collector that `validate` functions report to.
#[derive(Debug, Default)]
pub struct Problems {
    wrong: Vec<WrongSetting>,
}

impl Problems {
    /// Notes that a setting cannot be used.
    pub fn add(&mut self, name: &str, reason: impl fmt::Display) {
        self.wrong.push(WrongSetting {
            name: name.to_owned(),
            reason: reason.to_string(),
        });
    }

    /// Notes a rule over several settings, unless it holds.
    pub fn require(&mut self, holds: bool, name: &str, reason: impl fmt::Display) {
        if !holds {
            self.add(name, reason);
        }
    }

    /// Reads a duration with a unit, such as `250ms`, within a range.
    pub fn duration(
        &mut self,
        name: &str,
        text: &str,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        match parse_duration(text) {
            Ok(value) if allowed.contains(&value) => value,
            Ok(_) => {
                let (least, most) = (*allowed.start(), *allowed.end());
                let (least, most) = (
                    humantime::format_duration(least),
                    humantime::format_duration(most),
                );
                self.add(
                    name,
                    format_args!("`{text}` is not between {least} and {most}"),
                );
                *allowed.start()
            }
            Err(reason) => {
                self.add(name, reason);
                *allowed.start()
            }
        }
    }

    /// Reads a size in bytes with an optional unit, such as `64KiB`, within a range.
    pub fn size(&mut self, name: &str, text: &str, allowed: RangeInclusive<u64>) -> u64 {
        match parse_size(text) {
            Ok(value) if allowed.contains(&value) => value,
            Ok(_) => {
                let (least, most) = (allowed.start(), allowed.end());
                self.add(
                    name,
                    format_args!("`{text}` is not between {least} and {most} bytes"),
                );
                *allowed.start()
            }
            Err(reason) => {
                self.add(name, reason);
                *allowed.start()
            }
        }
    }

    /// Reads a number within a range.
    pub fn number<N>(&mut self, name: &str, text: &str, allowed: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let (least, most) = (allowed.start(), allowed.end());
        match text.trim().parse::<N>() {
            Ok(value) if allowed.contains(&value) => value,
            Ok(_) => {
                self.add(
                    name,
                    format_args!("`{text}` is not between {least} and {most}"),
                );
                *least
            }
            Err(_) => {
                self.add(
                    name,
                    format_args!("`{text}` is not a number; allowed: {least} to {most}"),
                );
                *least
            }
        }
    }

    /// Reads an address to listen on, such as `127.0.0.1:8080`; port 0 takes a free one.
    pub fn listen(&mut self, name: &str, text: &str) -> SocketAddr {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(
                name,
                format_args!("`{text}` is not `address:port`, such as 127.0.0.1:8080"),
            );
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
        })
    }

    /// Reads a value with its own parser, and notes the parser's error.
    pub fn parsed<T: Default, E: fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| {
            self.add(name, error);
            T::default()
        })
    }

    /// Reads text that must be there and not be empty.
    pub fn text(&mut self, name: &str, value: Option<&str>) -> String {
        match value.map(str::trim) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => {
                self.add(name, "is required");
                String::new()
            }
        }
    }

    /// Reads a secret from its setting or from the file that `NAME_FILE` names; neither is none.
    pub fn secret(
        &mut self,
        name: &str,
        value: Option<&str>,
        file: Option<&str>,
    ) -> Option<SecretString> {
        let file_name = format!("{name}_FILE");
        match (value, file) {
            (Some(_), Some(_)) => {
                self.add(
                    name,
                    format_args!("set either this or {file_name}, not both"),
                );
                None
            }
            (Some(value), None) => Some(SecretString::from(value.trim())),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => Some(SecretString::from(text.trim())),
                Err(error) => {
                    self.add(&file_name, format_args!("cannot read `{path}`: {error}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// True while nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Gives up when anything was noted.
    ///
    /// # Errors
    /// With all that was noted.
    pub fn check(self) -> Result<(), InvalidSettings> {
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(InvalidSettings(self.wrong))
        }
    }

    /// Like [`Problems::check`], but tells standard error and ends the process with 64.
    pub fn check_or_exit(self) {
        use std::io::Write as _;
        if let Err(invalid) = self.check() {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {invalid}");
            std::process::exit(EXIT_USAGE);
        }
    }
}
