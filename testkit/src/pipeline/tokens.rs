//! Bearer tokens as an identity provider would sign them, and the JWKS by which they are verified.
//! Not by
//! `platform::auth`: what the services verify should not have been made by themselves.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;
use uuid::Uuid;

/// The issuer of the tests' tokens.
pub const ISSUER: &str = "https://issuer.example";
/// Their audience.
pub const AUDIENCE: &str = "runnel-test";

const KEY_ID: &str = "test";
const LIFETIME: Duration = Duration::from_secs(3600);

/// On whose behalf a request is made.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// A user, for itself.
    User(Uuid),
    /// One who reads everything of the tenant.
    Operator,
    /// One who acts for anyone of the tenant.
    Admin,
}

/// A signing key.
pub struct Tokens {
    key: EncodingKey,
}

impl Tokens {
    /// Makes a key and writes its public half to `jwks`.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn generate(jwks: &Path) -> Self {
        let pair = Ed25519KeyPair::generate().expect("randomness");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("a key has a DER form");
        let key = EncodingKey::from_ed_der(pkcs8.as_ref());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).expect("a public half");
        let mut jwk = json!(jwk);
        jwk["kid"] = json!(KEY_ID);
        jwk["use"] = json!("sig");
        std::fs::write(jwks, json!({ "keys": [jwk] }).to_string()).expect("the JWKS file");
        Self { key }
    }

    /// A token that is valid now and for an hour.
    ///
    /// # Panics
    /// When signing fails.
    #[must_use]
    pub fn sign(&self, tenant: &str, who: Who) -> String {
        let now = get_current_timestamp();
        let (sub, role) = match who {
            Who::User(id) => (id.to_string(), "user"),
            Who::Operator => ("an-operator".to_owned(), "operator"),
            Who::Admin => ("an-admin".to_owned(), "admin"),
        };
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE,
            "iat": now, "nbf": now - 5, "exp": now + LIFETIME.as_secs(),
            "sub": sub, "tenant": tenant, "role": role,
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        encode(&header, &claims, &self.key).expect("a signed token")
    }
}
