//! Whose tokens are believed.

use std::path::PathBuf;
use std::time::Duration;

use super::Problems;

const LEEWAY_MAX: Duration = Duration::from_secs(30);
const CACHE_MAX: Duration = Duration::from_secs(60);

/// The token settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tokens")]
pub struct AuthArgs {
    /// The keys that sign tokens: a JWKS file's path or an https:// URL
    #[arg(long, env = "JWKS")]
    pub jwks: Option<String>,
    /// The `iss` that a token must carry
    #[arg(long, env = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// The `aud` that a token must carry
    #[arg(long, env = "JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// How far the clocks of issuer and verifier may differ; at most 30s
    #[arg(long, env = "JWT_LEEWAY", default_value = "30s")]
    pub jwt_leeway: String,
    /// How long a verified token is remembered, never past its own end; at most 60s
    #[arg(long, env = "TOKEN_CACHE_TTL", default_value = "60s")]
    pub token_cache_ttl: String,
}

/// Validated [`AuthArgs`].
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Where the keys are.
    pub jwks: JwksSource,
    /// The issuer.
    pub issuer: String,
    /// The audience.
    pub audience: String,
    /// Allowed difference of clocks.
    pub leeway: Duration,
    /// Longest life of a remembered token.
    pub token_cache_ttl: Duration,
}

/// Where the public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file, read again by time and for unknown key ids, as a URL is.
    File(PathBuf),
    /// A URL, fetched again by time and for unknown key ids.
    Url(url::Url),
}

impl Default for JwksSource {
    fn default() -> JwksSource {
        JwksSource::File(PathBuf::new())
    }
}

impl AuthArgs {
    /// Parses and checks the group.
    pub fn validate(&self, problems: &mut Problems) -> AuthSettings {
        let jwks = problems.text("JWKS", self.jwks.as_deref());
        AuthSettings {
            jwks: problems.parsed("JWKS", parse_source(&jwks)),
            issuer: problems.text("JWT_ISSUER", self.jwt_issuer.as_deref()),
            audience: problems.text("JWT_AUDIENCE", self.jwt_audience.as_deref()),
            leeway: problems.duration("JWT_LEEWAY", &self.jwt_leeway, Duration::ZERO..=LEEWAY_MAX),
            token_cache_ttl: problems.duration(
                "TOKEN_CACHE_TTL",
                &self.token_cache_ttl,
                Duration::ZERO..=CACHE_MAX,
            ),
        }
    }
}

fn parse_source(text: &str) -> Result<JwksSource, String> {
    if !text.contains("://") {
        return Ok(JwksSource::File(PathBuf::from(text)));
    }
    let url = url::Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(JwksSource::Url(url)),
        "http" if loopback => Ok(JwksSource::Url(url)),
        "file" => url
            .to_file_path()
            .map(JwksSource::File)
            .map_err(|()| format!("`{text}` is not a file of this machine")),
        _ => Err(format!(
            "`{text}` is neither a file nor https (http only on this machine)"
        )),
    }
}
