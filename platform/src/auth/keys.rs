//! The public keys that tokens are verified with. Each key has one algorithm, fixed when the set
//! is read: what a token's header says never chooses how the token is verified.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::config::Mode;

/// Marks a key that `runnel keys` made, in its JWKS entry.
pub(super) const DEV_MEMBER: &str = "runnel_dev";

/// Verification keys by key id.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    /// The text that it was read from.
    text: Vec<u8>,
}

/// One public key and the only algorithm that it verifies.
#[derive(Debug)]
pub(super) struct VerificationKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// A JWKS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is not JSON of the shape `{"keys": […]}`.
    #[error("it is not a JWKS: {{\"keys\": […]}}")]
    NotJwks,
    /// None of its keys is for RS256, ES256 or EdDSA signatures.
    #[error("it has no signature key for RS256, ES256 or EdDSA")]
    NoUsableKey,
    /// It has a development key, and this is production.
    #[error("it has a development key, which RUNNEL_ENV=production refuses")]
    DevKey,
}

impl KeySet {
    /// Reads a JWKS. Keys that are not for one of our algorithms are passed over: a set may hold
    /// encryption keys, too.
    ///
    /// # Errors
    /// When nothing usable is in it, or a development key in production.
    pub fn parse(json: &[u8], mode: Mode) -> Result<KeySet, KeySetError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeySetError::NotJwks)?;
        let entries = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::NotJwks)?;
        let is_dev = |key: &Value| key.get(DEV_MEMBER) == Some(&Value::Bool(true));
        if mode == Mode::Production && entries.iter().any(is_dev) {
            return Err(KeySetError::DevKey);
        }
        let keys: Vec<_> = entries.iter().filter_map(verification_key).collect();
        if keys.is_empty() {
            Err(KeySetError::NoUsableKey)
        } else {
            let text = json.to_vec();
            Ok(KeySet { keys, text })
        }
    }

    /// Whether both were read from the same text.
    pub(super) fn is_same(&self, other: &KeySet) -> bool {
        self.text == other.text
    }

    /// True when no key is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that a token may be signed with: those of its key id, or all when it names none.
    pub(super) fn candidates<'s>(
        &'s self,
        id: Option<&'s str>,
    ) -> impl Iterator<Item = &'s VerificationKey> {
        self.keys
            .iter()
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
    }
}

fn verification_key(entry: &Value) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_value(entry.clone()).ok()?;
    if !matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    // `alg` is optional in a JWKS; when it is there it must be the one that we use.
    if jwk
        .common
        .key_algorithm
        .is_some_and(|named| named != algorithm.into())
    {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(VerificationKey {
        id: jwk.common.key_id,
        algorithm,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenSigner;

    #[test]
    fn a_set_keeps_signature_keys_of_our_algorithms_only() {
        let jwk = TokenSigner::generate("a").unwrap().jwk();
        let mut other_use = jwk.clone();
        other_use["use"] = "enc".into();
        let mut other_algorithm = jwk.clone();
        other_algorithm["alg"] = "ES256".into();
        let secret = serde_json::json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"});
        let parse = |keys: &[&Value], mode| {
            let set = serde_json::json!({ "keys": keys });
            KeySet::parse(set.to_string().as_bytes(), mode)
        };
        let set = parse(
            &[&other_use, &secret, &jwk, &other_algorithm],
            Mode::Development,
        )
        .unwrap();
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.candidates(Some("a")).count(), 1);
        assert_eq!(set.candidates(Some("b")).count(), 0);
        assert_eq!(set.candidates(None).count(), 1);
        let none = parse(&[&other_use, &secret], Mode::Development);
        assert!(matches!(none, Err(KeySetError::NoUsableKey)));
        assert!(matches!(
            KeySet::parse(b"{}", Mode::Development),
            Err(KeySetError::NotJwks)
        ));
    }

    #[test]
    fn production_refuses_a_set_with_a_development_key() {
        let jwk = TokenSigner::generate("a").unwrap().jwk();
        let mut marked = jwk.clone();
        marked[DEV_MEMBER] = true.into();
        let set = serde_json::json!({ "keys": [jwk, marked] }).to_string();
        assert!(KeySet::parse(set.as_bytes(), Mode::Development).is_ok());
        let refused = KeySet::parse(set.as_bytes(), Mode::Production);
        assert!(matches!(refused, Err(KeySetError::DevKey)));
    }
}
