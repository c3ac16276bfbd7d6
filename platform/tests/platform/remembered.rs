//! How long a verified token is remembered: `TOKEN_CACHE_TTL`, and never past the token's own end.

use std::sync::Arc;
use std::time::Duration;

use platform::auth::{TokenError, Verifier};
use platform::config::{AuthSettings, Mode};
use serde_json::json;
use testkit::eventually;

use super::tokens::{AUDIENCE, ISSUER, claims, signer};

/// A verifier that remembers for so long, allows no difference of clocks, and a token for it that
/// ends so soon.
async fn verifier(ttl: Duration, ends_in: u64) -> (Verifier, String, tempfile::TempDir) {
    let (folder, signer) = (tempfile::tempdir().unwrap(), signer("ed"));
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({ "keys": [signer.jwk()] }).to_string()).unwrap();
    let mut settings = AuthSettings::of_file(&path, ISSUER, AUDIENCE);
    (settings.token_cache_ttl, settings.leeway) = (ttl, Duration::ZERO);
    let verifier = Verifier::start(settings, Mode::Development).await.unwrap();
    let mut claims = claims();
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + ends_in);
    (verifier, signer.sign_claims(&claims).unwrap(), folder)
}

#[tokio::test]
async fn a_verified_token_is_remembered_for_token_cache_ttl() {
    let (verifier, token, _folder) = verifier(Duration::from_secs(60), 600).await;
    let first = verifier.verify(&token).await.unwrap();
    let again = verifier.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again), "it was verified twice");
}

#[tokio::test]
async fn after_token_cache_ttl_a_token_is_verified_again() {
    let (verifier, token, _folder) = verifier(Duration::from_millis(100), 600).await;
    let first = verifier.verify(&token).await.unwrap();
    eventually(Duration::from_secs(10), || async {
        let again = verifier.verify(&token).await.unwrap();
        if Arc::ptr_eq(&first, &again) {
            Err("it is still remembered")
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_cache_ttl_of_0_remembers_nothing() {
    let (verifier, token, _folder) = verifier(Duration::ZERO, 600).await;
    let first = verifier.verify(&token).await.unwrap();
    assert!(!Arc::ptr_eq(
        &first,
        &verifier.verify(&token).await.unwrap()
    ));
}

#[tokio::test]
async fn a_remembered_token_ends_with_its_exp() {
    let (verifier, token, _folder) = verifier(Duration::from_secs(60), 6).await;
    verifier.verify(&token).await.unwrap();
    eventually(Duration::from_secs(20), || async {
        match verifier.verify(&token).await {
            Err(TokenError::Expired) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}
