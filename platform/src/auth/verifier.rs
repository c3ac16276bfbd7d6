//! Verifies bearer tokens.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Validation, decode, decode_header};
use moka::sync::Cache;
use serde::Deserialize;

use super::claims::{Claims, Role};
use super::jwks::{FetchError, Keys, REFRESH_EVERY, RETRY_EVERY};
use super::keys::VerificationKey;
use super::signer::self_test;
use crate::config::{AuthSettings, JwksSource, Mode};
use crate::http::{HttpCode, Problem};

/// Claims that a token must carry, besides `tenant`.
const REQUIRED: [&str; 5] = ["exp", "nbf", "iss", "aud", "sub"];
/// Verified tokens remembered.
const REMEMBERED_MAX: u64 = 100_000;
/// Longest token in bytes; no key needs more.
const TOKEN_MAX: usize = 8 << 10;
/// Longest `tenant` and `sub` in bytes, of which every cache and lock key is made.
const IDENTITY_MAX: usize = 255;

/// Verifies tokens against a key set that refreshes itself. Clones are the same verifier.
#[derive(Debug, Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: Keys,
    settings: AuthSettings,
    remembered: Cache<[u8; 32], Arc<Verified>>,
}

/// A token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// Its end, in seconds since 1970.
    pub expires_at: u64,
    /// Tenant and subject as a short key for limits.
    pub(crate) principal: [u8; 16],
    /// Until when it need not be verified again (`TOKEN_CACHE_TTL`).
    pub(crate) remembered_until: Instant,
}

impl Verified {
    /// Whether its `exp` is still to come.
    pub(crate) fn is_alive(&self) -> bool {
        unix_now() < self.expires_at
    }
}

/// What the middleware found out about a request's token.
#[derive(Debug)]
pub(crate) enum Authentication {
    Missing,
    Failed(Problem),
    /// Nobody knows whether it is good: we have no keys at the moment.
    Unverifiable(Problem),
    Verified(Arc<Verified>),
}

/// Why a token is not accepted. The client learns no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` is in the future.
    #[error("the token is not valid yet")]
    Immature,
    /// Its `aud` or `iss` is not ours.
    #[error("the token was issued for or by somebody else")]
    Foreign,
    /// A claim is missing or of a wrong form.
    #[error("the token lacks a claim (exp, nbf, iss, aud, sub, tenant) or has a malformed one")]
    Claims,
    /// It is not a token, is signed by no key that we know, or its algorithm is not the key's.
    #[error("the token is not one that this service accepts")]
    Untrusted,
    /// We have no keys at the moment.
    #[error("no verification keys are loaded")]
    KeysUnavailable,
}

/// Why verification cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The cryptography of this build does not work.
    #[error("signing and verifying a test token failed")]
    SelfTest(#[source] jsonwebtoken::errors::Error),
    /// No HTTP client.
    #[error("no HTTP client could be made")]
    Client(#[source] reqwest::Error),
    /// The keys cannot be used.
    #[error("no keys to verify tokens with")]
    Keys(#[source] FetchError),
}

#[derive(Deserialize)]
struct TokenClaims {
    exp: u64,
    sub: String,
    tenant: String,
    #[serde(default)]
    role: Role,
}

impl Verifier {
    /// Loads the keys and keeps them fresh. A URL that does not answer yet is tried again in the
    /// background; until then tokens are answered 503.
    ///
    /// # Errors
    /// When the cryptography does not work, a file cannot be used, or a development key stands in
    /// production.
    pub async fn start(settings: AuthSettings, mode: Mode) -> Result<Verifier, AuthError> {
        self_test().map_err(AuthError::SelfTest)?;
        let keys = Keys::new(settings.jwks.clone(), mode).map_err(AuthError::Client)?;
        match keys.refresh().await {
            Ok(_) => {}
            Err(error @ (FetchError::Http(_) | FetchError::CircuitOpen(_))) => {
                tracing::error!(error = %crate::telemetry::chain(&error), "no keys yet");
            }
            Err(error) => return Err(AuthError::Keys(error)),
        }
        let remembered = Cache::builder()
            .max_capacity(REMEMBERED_MAX)
            .time_to_live(settings.token_cache_ttl);
        let inner = Arc::new(Inner {
            keys,
            settings,
            remembered: remembered.build(),
        });
        inner.refresh_in_background();
        Ok(Verifier { inner })
    }

    /// True while there are keys to verify with, for a readiness check.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.inner.keys.current().is_empty()
    }

    /// Verifies a token, or remembers having done so.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn verify(&self, token: &str) -> Result<Arc<Verified>, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Untrusted);
        }
        let hash = sha256(token);
        let inner = &*self.inner;
        if let Some(verified) = inner.remembered.get(&hash)
            && verified.is_alive()
        {
            return Ok(verified);
        }
        // Boxed: a remembered token, the common case, shall not carry this way's large future.
        let verified = Arc::new(Box::pin(inner.verify_anew(token)).await?);
        if inner.settings.token_cache_ttl > Duration::ZERO {
            inner.remembered.insert(hash, Arc::clone(&verified));
        }
        Ok(verified)
    }

    /// Looks at a request's `Authorization` header.
    pub(crate) async fn authenticate(&self, header: Option<&HeaderValue>) -> Authentication {
        let Some(header) = header else {
            return Authentication::Missing;
        };
        let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
        let result = match bearer {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.verify(token.trim()).await
            }
            _ => Err(TokenError::Untrusted),
        };
        match result {
            Ok(verified) => Authentication::Verified(verified),
            Err(error @ TokenError::KeysUnavailable) => {
                Authentication::Unverifiable(refusal(error))
            }
            Err(error) => Authentication::Failed(refusal(error)),
        }
    }
}

impl Inner {
    async fn verify_anew(&self, token: &str) -> Result<Verified, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Untrusted)?;
        let id = header.kid.as_deref();
        let mut set = self.keys.current();
        if set.candidates(id).next().is_none()
            && self.keys.refresh_for(id.unwrap_or_default()).await
        {
            self.remembered.invalidate_all();
            set = self.keys.current();
        }
        if set.is_empty() {
            return Err(TokenError::KeysUnavailable);
        }
        // Several keys come into question only for a token that names none.
        let mut refused = TokenError::Untrusted;
        for key in set.candidates(id).filter(|key| key.algorithm == header.alg) {
            match self.verify_with(token, key) {
                Ok(verified) => return Ok(verified),
                Err(TokenError::Untrusted) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn verify_with(&self, token: &str, key: &VerificationKey) -> Result<Verified, TokenError> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&REQUIRED);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.validate_nbf = true;
        validation.leeway = self.settings.leeway.as_secs();
        let decoded = decode::<TokenClaims>(token, &key.key, &validation).map_err(reason)?;
        let TokenClaims {
            exp,
            sub,
            tenant,
            role,
        } = decoded.claims;
        let sane = |text: &str| (1..=IDENTITY_MAX).contains(&text.len()) && !text.contains('\0');
        if !sane(&sub) || !sane(&tenant) {
            return Err(TokenError::Claims);
        }
        let principal = principal(&tenant, &sub);
        Ok(Verified {
            claims: Claims { tenant, sub, role },
            expires_at: exp,
            principal,
            remembered_until: Instant::now() + self.settings.token_cache_ttl,
        })
    }

    fn refresh_in_background(self: &Arc<Self>) {
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Some(verifier) = inner.upgrade() else {
                    return;
                };
                let empty = verifier.keys.current().is_empty();
                drop(verifier);
                tokio::time::sleep(if empty { RETRY_EVERY } else { REFRESH_EVERY }).await;
                let Some(verifier) = inner.upgrade() else {
                    return;
                };
                match verifier.keys.refresh().await {
                    // A key that was taken out of the set must not go on in remembered tokens.
                    Ok(true) => verifier.remembered.invalidate_all(),
                    Ok(false) => {}
                    Err(error) => {
                        let error = crate::telemetry::chain(&error);
                        tracing::warn!(%error, "JWKS not refreshed; the last good set serves");
                    }
                }
            }
        });
    }
}

fn reason(error: jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::Immature,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => TokenError::Foreign,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::Json(_) => TokenError::Claims,
        _ => TokenError::Untrusted,
    }
}

fn refusal(error: TokenError) -> Problem {
    if error == TokenError::KeysUnavailable {
        return Problem::new(HttpCode::KeysUnavailable).retry_after(RETRY_EVERY);
    }
    Problem::new(HttpCode::TokenInvalid)
        .detail(error.to_string())
        .header(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"invalid_token\""),
        )
}

fn sha256(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

fn principal(tenant: &str, sub: &str) -> [u8; 16] {
    let hash = digest(
        &SHA256,
        format!("{}/{tenant}/{sub}", tenant.len()).as_bytes(),
    );
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_ref()[..16]);
    key
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl AuthSettings {
    /// Settings that believe a key file, with the longest leeway and memory allowed.
    #[must_use]
    pub fn of_file(jwks: &std::path::Path, issuer: &str, audience: &str) -> AuthSettings {
        AuthSettings {
            jwks: JwksSource::File(jwks.to_owned()),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            leeway: Duration::from_secs(30),
            token_cache_ttl: Duration::from_secs(60),
        }
    }
}
