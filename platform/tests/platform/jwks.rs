//! Keys that come from a URL: rotation, an issuer that is down, and one that sends too much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use platform::admin::{Health, Readiness};
use platform::auth::{TokenError, TokenSigner, Verifier};
use platform::config::{AuthSettings, JwksSource, Mode};
use serde_json::{Value, json};

use super::app::problem;
use super::tokens::{AUDIENCE, ISSUER, claims, signer};

/// An issuer's JWKS URL whose answer a test changes.
struct Issuer {
    url: url::Url,
    answer: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn spawn(first: Option<Value>) -> Issuer {
        let (answer, asked) = (Arc::new(Mutex::new(first)), Arc::new(AtomicUsize::new(0)));
        let (of_server, counter) = (Arc::clone(&answer), Arc::clone(&asked));
        let server = HttpServer::new(move || {
            let (answer, asked) = (Arc::clone(&of_server), Arc::clone(&counter));
            let keys = move || {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap().clone();
                let response = match answer {
                    Some(set) => HttpResponse::Ok().json(set),
                    None => HttpResponse::ServiceUnavailable().finish(),
                };
                async move { response }
            };
            App::new().route("/jwks.json", web::get().to(keys))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
        let url = format!("http://{}/jwks.json", server.addrs()[0]);
        tokio::spawn(server.run());
        Issuer {
            url: url::Url::parse(&url).unwrap(),
            answer,
            asked,
        }
    }

    fn publish(&self, keys: Option<&[Value]>) {
        *self.answer.lock().unwrap() = keys.map(|keys| json!({ "keys": keys }));
    }

    async fn verifier(&self) -> Verifier {
        let mut settings = AuthSettings::of_file("".as_ref(), ISSUER, AUDIENCE);
        settings.jwks = JwksSource::Url(self.url.clone());
        Verifier::start(settings, Mode::Development).await.unwrap()
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_the_last_good_set_serves_while_the_issuer_is_down() {
    let (old, new, unknown) = (signer("old"), signer("new"), signer("unknown"));
    let issuer = Issuer::spawn(Some(json!({ "keys": [old.jwk()] }))).await;
    let verifier = issuer.verifier().await;
    let sign = |signer: &TokenSigner| signer.sign_claims(&claims()).unwrap();
    assert!(verifier.verify(&sign(&old)).await.is_ok());
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);

    issuer.publish(Some(&[new.jwk()]));
    assert!(verifier.verify(&sign(&new)).await.is_ok(), "rotated");
    assert_eq!(
        verifier.verify(&sign(&old)).await,
        Err(TokenError::Untrusted),
        "taken out"
    );
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);

    issuer.publish(None);
    // Time for an unknown key id to ask again: one a second at most.
    let mut asked = 2;
    testkit::eventually(Duration::from_secs(5), || async {
        assert_eq!(
            verifier.verify(&sign(&unknown)).await,
            Err(TokenError::Untrusted)
        );
        let now = issuer.asked.load(Ordering::SeqCst);
        if now > 2 { Ok(()) } else { Err(now) }
    })
    .await;
    asked += 1;
    for _ in 0..20 {
        let refused = verifier.verify(&sign(&unknown)).await;
        assert_eq!(refused, Err(TokenError::Untrusted));
    }
    assert_eq!(
        issuer.asked.load(Ordering::SeqCst),
        asked,
        "an unknown id asks once in 30 s"
    );
    assert!(
        verifier.verify(&sign(&new)).await.is_ok(),
        "the last good set"
    );
}

#[tokio::test]
async fn without_any_keys_tokens_are_503_and_not_401() {
    let issuer = Issuer::spawn(None).await;
    let verifier = issuer.verifier().await;
    assert!(!verifier.has_keys());
    let token = signer("ed").sign_claims(&claims()).unwrap();
    assert_eq!(
        verifier.verify(&token).await,
        Err(TokenError::KeysUnavailable)
    );
}

#[tokio::test]
async fn without_any_keys_the_process_is_not_ready_and_an_address_may_send_any_number_of_tokens() {
    let issuer = Issuer::spawn(None).await;
    let verifier = issuer.verifier().await;
    let readiness = Readiness::new();
    readiness.check_keys("keys", verifier.clone());
    let folder = tempfile::tempdir().unwrap();
    let app = super::app::App::verifying(verifier, super::app::settings(), folder);
    let token = app.signer.sign_claims(&claims()).unwrap();
    for _ in 0..60 {
        let answer = app.get_as("/me", &token).await;
        assert_eq!(answer.headers()["retry-after"], "5");
        assert_eq!(problem(answer).await["code"], "keys_unavailable");
    }
    let report = readiness.report().await;
    assert!(!report.ready);
    assert!(matches!(report.checks["keys"], Health::Failed(_)));

    issuer.publish(Some(&[app.signer.jwk()]));
    // The background asks every 5 seconds.
    testkit::eventually(Duration::from_secs(20), || async {
        let report = readiness.report().await;
        if report.ready { Ok(()) } else { Err(report) }
    })
    .await;
    assert_eq!(app.get_as("/me", &token).await.status(), 200);
}

#[tokio::test]
async fn a_key_set_over_256_kib_is_refused() {
    let padding = "x".repeat(300 << 10);
    let keys = json!({ "keys": [signer("ed").jwk()], "padding": padding });
    let issuer = Issuer::spawn(Some(keys)).await;
    let mut settings = AuthSettings::of_file("".as_ref(), ISSUER, AUDIENCE);
    settings.jwks = JwksSource::Url(issuer.url.clone());
    let error = Verifier::start(settings, Mode::Development)
        .await
        .unwrap_err();
    assert!(
        platform::telemetry::chain(&error)
            .to_string()
            .contains("256 KiB")
    );
}
