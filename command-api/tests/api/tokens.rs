//! Tokens that are not accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{AUDIENCE, ISSUER, TestStore, answer, user};

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// Claims that are accepted, with some members changed; null takes one away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now() + 600,
        "nbf": now() - 5,
        "sub": "tests",
        "tenant": "acme",
        "role": "admin",
    });
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn unsigned(header: Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&header), part(claims))
}

#[tokio::test]
async fn only_a_token_of_our_issuer_for_us_now_is_accepted() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let signed = |changes| store.signer.sign_claims(&claims(changes)).expect("a token");
    let good = signed(json!({}));
    let (_, payload_and_signature) = good.split_once('.').expect("a token");
    let public_key = store.signer.jwk()["x"].as_str().expect("a key").to_owned();
    let public_bytes = URL_SAFE_NO_PAD.decode(&public_key).expect("base64");
    let hs256 = |key: &[u8]| {
        let header = Header {
            kid: Some("test".to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        jsonwebtoken::encode(&header, &claims(json!({})), &EncodingKey::from_secret(key))
            .expect("a token")
    };
    let stranger = platform::auth::TokenSigner::generate("test").expect("a key");
    let refused = [
        ("expired", signed(json!({ "exp": now() - 60 }))),
        ("not yet valid", signed(json!({ "nbf": now() + 120 }))),
        (
            "another audience",
            signed(json!({ "aud": "somebody-else" })),
        ),
        (
            "another issuer",
            signed(json!({ "iss": "https://elsewhere.example" })),
        ),
        ("no expiry", signed(json!({ "exp": null }))),
        ("no tenant", signed(json!({ "tenant": null }))),
        ("no subject", signed(json!({ "sub": null }))),
        ("no tenant id", signed(json!({ "tenant": "Acme/../beta" }))),
        ("unknown role", signed(json!({ "role": "root" }))),
        (
            "alg none",
            unsigned(json!({ "alg": "none", "typ": "JWT" }), &claims(json!({}))),
        ),
        ("HS256 with the public key", hs256(&public_bytes)),
        (
            "HS256 with the public key's text",
            hs256(public_key.as_bytes()),
        ),
        (
            "another key",
            stranger.sign_claims(&claims(json!({}))).expect("a token"),
        ),
        ("other payload", format!("{}x", payload_and_signature)),
        ("no token", "nonsense".to_owned()),
    ];
    for (why, token) in refused {
        let answer = app.register(&token, Uuid::now_v7()).await;
        assert_eq!(
            answer.code(),
            (401, "token_invalid"),
            "{why}: {}",
            answer.body
        );
        assert!(answer.header("www-authenticate").is_some(), "{why}");
    }
    assert!(store.event_types().await.is_empty());
    app.register(&good, Uuid::now_v7()).await.expect(201, "");
}

#[tokio::test]
async fn a_token_without_a_role_is_a_users() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let me = Uuid::now_v7();
    let token = store
        .signer
        .sign_claims(&claims(json!({ "role": null, "sub": me })))
        .expect("a token");
    app.register(&token, Uuid::now_v7())
        .await
        .expect(403, "forbidden");
    app.register(&token, me).await.expect(201, "");
}

#[tokio::test]
async fn production_refuses_development_keys() {
    let store = TestStore::create().await;
    let folder = tempfile::tempdir().expect("a folder");
    let keys = platform::auth::DevKeys::ensure(folder.path()).expect("keys");
    let jwks = keys.jwks.to_str().expect("a path");
    let config = store.config(&[("JWKS", jwks), ("RUNNEL_ENV", "production")]);
    let built = command_api::Application::build(config, &platform::admin::Readiness::new()).await;
    assert!(matches!(
        built.err(),
        Some(command_api::BuildError::Auth(_))
    ));
}

#[tokio::test]
async fn another_secret_than_the_stores_is_refused_at_start() {
    let store = TestStore::create().await;
    let config = store.config(&[("SECRET_KEY", &"08".repeat(32))]);
    let built = command_api::Application::build(config, &platform::admin::Readiness::new()).await;
    assert!(matches!(
        built.err(),
        Some(command_api::BuildError::OtherSecret)
    ));
}

#[tokio::test]
async fn a_principal_over_its_rate_is_429_and_another_one_is_not() {
    let store = TestStore::create().await;
    let app = store.start(&[("RATE_LIMIT_PER_SECOND", "1"), ("RATE_LIMIT_BURST", "3")]);
    let admin = store.admin();
    let mut codes = vec![];
    for _ in 0..5 {
        let request = app
            .request("POST", "/v1/users", &admin)
            .json(&user(Uuid::now_v7()));
        let answer = answer(request).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
        }
        codes.push(answer.status.as_u16());
    }
    assert_eq!(codes[..3], [201, 201, 201]);
    assert!(codes[3..].contains(&429), "{codes:?}");
    let other = store.token("acme", "somebody-else", platform::auth::Role::Admin);
    app.register(&other, Uuid::now_v7()).await.expect(201, "");
}
