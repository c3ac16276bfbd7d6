//! Which tokens are accepted.

use aws_lc_rs::encoding::AsDer as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use platform::auth::{Claims, Role, TokenError, TokenSigner, Verifier};
use platform::config::{AuthSettings, Mode};
use serde_json::{Value, json};

use super::app::{App, problem};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "runnel";

/// A key of each algorithm, as an issuer has it.
struct Key {
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    fn rsa() -> Key {
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pem = pem(pair.as_der().unwrap().as_ref());
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        Key {
            algorithm: Algorithm::RS256,
            private,
        }
    }

    fn ec() -> Key {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pem = pem(pair.to_pkcs8v1().unwrap().as_ref());
        let private = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
        Key {
            algorithm: Algorithm::ES256,
            private,
        }
    }

    fn jwk(&self, id: &str) -> Value {
        let mut jwk = json!(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap());
        jwk["kid"] = json!(id);
        jwk
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let kid = id.map(str::to_owned);
        let header = Header {
            kid,
            ..Header::new(self.algorithm)
        };
        encode(&header, claims, &self.private).unwrap()
    }
}

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

pub(crate) fn claims() -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": now + 60, "nbf": now, "iat": now,
        "sub": "ada", "tenant": "acme",
    })
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

async fn verifier(keys: &[Value]) -> (Verifier, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let settings = AuthSettings::of_file(&path, ISSUER, AUDIENCE);
    (
        Verifier::start(settings, Mode::Development).await.unwrap(),
        folder,
    )
}

pub(crate) fn signer(id: &str) -> TokenSigner {
    TokenSigner::generate(id)
        .unwrap()
        .for_audience(ISSUER, AUDIENCE)
}

#[tokio::test]
async fn each_algorithm_of_ours_is_verified_with_and_without_a_key_id() {
    let (rsa, ec, ed) = (Key::rsa(), Key::ec(), signer("ed"));
    let (verifier, _folder) = verifier(&[rsa.jwk("rsa"), ec.jwk("ec"), ed.jwk()]).await;
    let tokens = [
        rsa.sign(Some("rsa"), &claims()),
        rsa.sign(None, &claims()),
        ec.sign(Some("ec"), &claims()),
        ec.sign(None, &claims()),
        ed.sign_claims(&claims()).unwrap(),
    ];
    let expected = Claims {
        tenant: "acme".to_owned(),
        sub: "ada".to_owned(),
        role: Role::User,
    };
    for token in tokens {
        assert_eq!(verifier.verify(&token).await.unwrap().claims, expected);
        assert_eq!(
            verifier.verify(&token).await.unwrap().claims,
            expected,
            "remembered"
        );
    }
}

#[tokio::test]
async fn the_role_is_the_tokens_and_an_unknown_one_is_refused() {
    let ed = signer("ed");
    let (verifier, _folder) = verifier(&[ed.jwk()]).await;
    for role in [Role::User, Role::Operator, Role::Admin] {
        let token = ed
            .sign_claims(&changed("role", json!(role.as_str())))
            .unwrap();
        assert_eq!(verifier.verify(&token).await.unwrap().claims.role, role);
    }
    let token = ed.sign_claims(&changed("role", json!("root"))).unwrap();
    assert_eq!(verifier.verify(&token).await, Err(TokenError::Claims));
}

#[tokio::test]
async fn a_token_with_a_claim_missing_or_wrong_is_refused() {
    let ed = signer("ed");
    let (verifier, _folder) = verifier(&[ed.jwk()]).await;
    let now = jsonwebtoken::get_current_timestamp();
    let check = async |claims: Value, expected: TokenError| {
        let token = ed.sign_claims(&claims).unwrap();
        assert_eq!(verifier.verify(&token).await, Err(expected), "{claims}");
    };
    for name in ["exp", "nbf", "iss", "aud", "sub", "tenant"] {
        check(without(name), TokenError::Claims).await;
    }
    check(changed("exp", json!(now - 31)), TokenError::Expired).await;
    check(changed("nbf", json!(now + 33)), TokenError::Immature).await;
    check(changed("aud", json!("another")), TokenError::Foreign).await;
    check(changed("aud", json!([])), TokenError::Foreign).await;
    check(
        changed("iss", json!("https://evil.example")),
        TokenError::Foreign,
    )
    .await;
    check(changed("exp", json!("tomorrow")), TokenError::Claims).await;
    check(changed("sub", json!("")), TokenError::Claims).await;
    check(changed("tenant", json!("a\0b")), TokenError::Claims).await;
    check(
        changed("tenant", json!("t".repeat(256))),
        TokenError::Claims,
    )
    .await;
}

#[tokio::test]
async fn the_leeway_is_thirty_seconds_and_no_more() {
    let ed = signer("ed");
    let (verifier, _folder) = verifier(&[ed.jwk()]).await;
    let now = jsonwebtoken::get_current_timestamp();
    for claims in [
        changed("exp", json!(now - 20)),
        changed("nbf", json!(now + 20)),
    ] {
        assert!(
            verifier
                .verify(&ed.sign_claims(&claims).unwrap())
                .await
                .is_ok(),
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_token_signed_otherwise_than_by_its_key_is_refused() {
    let (rsa, ec, ed, stranger) = (Key::rsa(), Key::ec(), signer("ed"), signer("ed"));
    let public = rsa.jwk("rsa");
    let (verifier, _folder) = verifier(&[public.clone(), ec.jwk("ec"), ed.jwk()]).await;
    let good = ed.sign_claims(&claims()).unwrap();
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let hmac = |secret: &[u8], id: &str| {
        let header = Header {
            kid: Some(id.to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let modulus = URL_SAFE_NO_PAD
        .decode(public["n"].as_str().unwrap())
        .unwrap();
    let x = URL_SAFE_NO_PAD
        .decode(ed.jwk()["x"].as_str().unwrap())
        .unwrap();
    let none = part(json!({ "alg": "none", "kid": "ed" }));
    let forged = part(changed("role", json!("admin")));
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let refused = [
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        hmac(&modulus, "rsa"),
        hmac(public.to_string().as_bytes(), "rsa"),
        hmac(&x, "ed"),
        format!("{header}.{forged}.{signature}"),
        format!("{header}.{payload}.{flipped}{}", &signature[1..]),
        format!("{header}.{payload}."),
        stranger.sign_claims(&claims()).unwrap(),
        ec.sign(Some("rsa"), &claims()),
        rsa.sign(Some("unknown"), &claims()),
        String::new(),
        "a.b.c".to_owned(),
        "x".repeat(10_000),
    ];
    for token in refused {
        assert_eq!(
            verifier.verify(&token).await,
            Err(TokenError::Untrusted),
            "{token}"
        );
    }
    assert!(verifier.verify(&good).await.is_ok());
}

#[tokio::test]
async fn production_does_not_start_with_a_development_key() {
    let mut jwk = signer("ed").jwk();
    jwk["runnel_dev"] = json!(true);
    let (_, folder) = verifier(std::slice::from_ref(&jwk)).await;
    let path = folder.path().join("jwks.json");
    let settings = AuthSettings::of_file(&path, ISSUER, AUDIENCE);
    let error = Verifier::start(settings, Mode::Production)
        .await
        .unwrap_err();
    assert!(
        platform::telemetry::chain(&error)
            .to_string()
            .contains("development key")
    );
}

#[tokio::test]
async fn over_http_a_missing_and_a_bad_token_are_401_with_a_challenge() {
    let app = App::spawn().await;
    let missing = app.get("/me").await;
    assert_eq!(missing.headers()["www-authenticate"], "Bearer");
    assert_eq!(problem(missing).await["code"], "token_missing");
    let bad = app.get_as("/me", "not-a-token").await;
    assert_eq!(
        bad.headers()["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    assert_eq!(problem(bad).await["code"], "token_invalid");
    let basic = app
        .client
        .get(app.url("/me"))
        .basic_auth("ada", Some("x"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(basic).await["code"], "token_invalid");
    let good = app.get_as("/me", &app.token("ada")).await;
    let expected = json!({ "tenant": "acme", "sub": "ada", "role": "user" });
    assert_eq!(good.json::<Value>().await.unwrap(), expected);
}
