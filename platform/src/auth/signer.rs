//! Signs tokens: for `runnel token`, for reactors in development and for tests.

use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

use super::claims::Claims;
use super::dev_keys::{DEV_AUDIENCE, DEV_ISSUER};
use super::pem;

/// A clock a little behind ours must accept a token at once.
const NOT_BEFORE_MARGIN: u64 = 5;

/// An EdDSA private key and what its tokens say.
pub struct TokenSigner {
    key: EncodingKey,
    pem: String,
    id: String,
    issuer: String,
    audience: String,
}

/// A token could not be signed, or a key not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is not an Ed25519 key in PKCS#8 PEM.
    #[error("it is not an Ed25519 private key in PEM")]
    Key(#[source] jsonwebtoken::errors::Error),
    /// The operating system gave no key.
    #[error("no key could be generated")]
    Generate,
    /// Signing failed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

impl TokenSigner {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(id: &str) -> Result<TokenSigner, SignError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| SignError::Generate)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| SignError::Generate)?;
        TokenSigner::from_pem(&pem::private_key(pkcs8.as_ref()), id)
    }

    /// Reads a key as [`TokenSigner::to_pem`] wrote it.
    ///
    /// # Errors
    /// When it is no Ed25519 key.
    pub fn from_pem(pem: &str, id: &str) -> Result<TokenSigner, SignError> {
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(SignError::Key)?;
        Ok(TokenSigner {
            key,
            pem: pem.to_owned(),
            id: id.to_owned(),
            issuer: DEV_ISSUER.to_owned(),
            audience: DEV_AUDIENCE.to_owned(),
        })
    }

    /// Signs for other names than the development ones.
    #[must_use]
    pub fn for_audience(mut self, issuer: &str, audience: &str) -> TokenSigner {
        self.issuer = issuer.to_owned();
        self.audience = audience.to_owned();
        self
    }

    /// The private key as PEM. Keep it where only its owner reads.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The public key as an entry of a JWKS.
    ///
    /// # Panics
    /// Never: a key that was read has a public half.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA);
        let mut jwk = json!(jwk.expect("an Ed25519 key has a public half"));
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Signs a token that is valid from now on.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn sign(&self, claims: &Claims, lifetime: Duration) -> Result<String, SignError> {
        let now = jsonwebtoken::get_current_timestamp();
        self.sign_claims(&json!({
            "iss": self.issuer,
            "aud": self.audience,
            "iat": now,
            "nbf": now - NOT_BEFORE_MARGIN,
            "exp": now + lifetime.as_secs(),
            "sub": claims.sub,
            "tenant": claims.tenant,
            "role": claims.role.as_str(),
        }))
    }

    /// Signs exactly these claims, also such as no verifier accepts.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn sign_claims(&self, claims: &Value) -> Result<String, SignError> {
        let header = Header {
            kid: Some(self.id.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        encode(&header, claims, &self.key).map_err(SignError::Sign)
    }
}

/// jsonwebtoken compiles without a cryptography provider and panics later; so a process signs and
/// verifies once before it says that it is ready.
pub(super) fn self_test() -> Result<(), jsonwebtoken::errors::Error> {
    use jsonwebtoken::errors::ErrorKind;
    let attempt = std::panic::catch_unwind(|| {
        let signer = TokenSigner::generate("self-test").map_err(|_| ErrorKind::InvalidEddsaKey)?;
        let now = jsonwebtoken::get_current_timestamp();
        let token = signer.sign_claims(&json!({"exp": now + 60}));
        let token = token.map_err(|_| ErrorKind::InvalidSignature)?;
        let jwk: Jwk = serde_json::from_value(signer.jwk())?;
        let key = DecodingKey::from_jwk(&jwk)?;
        decode::<Value>(&token, &key, &Validation::new(Algorithm::EdDSA)).map(|_| ())
    });
    attempt.unwrap_or_else(|_| Err(ErrorKind::InvalidAlgorithm.into()))
}
