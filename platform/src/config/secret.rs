//! The one secret from which all others are derived.

use secrecy::ExposeSecret as _;

use super::{Mode, Problems};
use crate::secret::SecretKey;

/// The secret's settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub struct SecretArgs {
    /// 32 bytes as hex or base64; cursors, claims and fingerprints are derived from it
    #[arg(long, env = "SECRET_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// A file that holds SECRET_KEY
    #[arg(long, env = "SECRET_KEY_FILE")]
    pub secret_key_file: Option<String>,
}

/// Validated [`SecretArgs`].
#[derive(Debug, Clone)]
pub struct SecretSettings {
    /// The key.
    pub key: SecretKey,
}

impl SecretArgs {
    /// Parses and checks the group. Production refuses a key that `runnel keys` made.
    pub fn validate(&self, mode: Mode, problems: &mut Problems) -> SecretSettings {
        let (value, file) = (self.secret_key.as_deref(), self.secret_key_file.as_deref());
        if value.is_none() && file.is_none() {
            problems.add("SECRET_KEY", "is required: set it or SECRET_KEY_FILE");
        }
        let secret = problems.secret("SECRET_KEY", value, file);
        let placeholder = SecretKey::from_bytes([0; 32]);
        let Some(text) = secret else {
            return SecretSettings { key: placeholder };
        };
        let key = SecretKey::parse(text.expose_secret()).unwrap_or_else(|error| {
            problems.add("SECRET_KEY", error);
            placeholder
        });
        problems.require(
            mode != Mode::Production || !key.is_dev(),
            "SECRET_KEY",
            "is a development key, which RUNNEL_ENV=production refuses",
        );
        SecretSettings { key }
    }
}
