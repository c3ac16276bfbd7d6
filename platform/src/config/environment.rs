//! Where setting values come from when no flag gives them: the process environment, and below it
//! the file `env` of RUNNEL_HOME, which `runnel up` writes for every other binary.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// RUNNEL_HOME when nothing says otherwise.
pub const HOME_DEFAULT: &str = ".runnel";

/// The file in RUNNEL_HOME that holds `KEY=VALUE` lines.
pub const HOME_ENV_FILE: &str = "env";

/// Environment variables, as an argument: tests bring their own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process; those that are not Unicode are left out.
    #[must_use]
    pub fn of_process() -> Environment {
        let unicode = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Environment {
            values: unicode.collect(),
        }
    }

    /// The given variables and no others.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let values = pairs
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Environment { values }
    }

    /// The value of a variable. An empty one counts as unset, as in most deployment tools.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// RUNNEL_HOME, or its default.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        PathBuf::from(self.get("RUNNEL_HOME").unwrap_or(HOME_DEFAULT))
    }

    /// Adds what a file says, below what is already there. A secret that is already given in one
    /// form (`SECRET_KEY`) is not given again in the other (`SECRET_KEY_FILE`).
    pub fn add_below(&mut self, file: BTreeMap<String, String>) {
        for (name, value) in file {
            let other = match name.strip_suffix("_FILE") {
                Some(plain) => plain.to_owned(),
                None => format!("{name}_FILE"),
            };
            if self.get(&name).is_none() && self.get(&other).is_none() {
                self.values.insert(name, value);
            }
        }
    }
}

/// Reads `KEY=VALUE` lines; empty lines and those that begin with `#` say nothing, one pair of
/// quotes round a value is taken off, and `export ` in front is allowed.
#[must_use]
pub fn parse_env_file(text: &str) -> BTreeMap<String, String> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let pairs =
        lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim()).to_owned()))
        .collect()
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| {
        value
            .strip_prefix(quote)
            .and_then(|v: &str| v.strip_suffix(quote))
    };
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_is_key_value_lines() {
        let values =
            parse_env_file("# made by runnel up\nA=1\n\nexport B = 'two words'\nC=\"x=y\"\n?");
        let read: Vec<_> = values
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(read, [("A", "1"), ("B", "two words"), ("C", "x=y")]);
    }

    #[test]
    fn a_file_never_overrides_the_environment_nor_gives_a_secret_twice() {
        let mut environment =
            Environment::from_pairs([("JWT_ISSUER", "mine"), ("SECRET_KEY", "s"), ("EMPTY", "")]);
        environment.add_below(parse_env_file(
            "JWT_ISSUER=file\nSECRET_KEY_FILE=/x\nEMPTY=full\nNEW=1",
        ));
        assert_eq!(environment.get("JWT_ISSUER"), Some("mine"));
        assert_eq!(environment.get("SECRET_KEY_FILE"), None);
        assert_eq!(environment.get("EMPTY"), Some("full"));
        assert_eq!(environment.get("NEW"), Some("1"));
    }
}
