//! How many requests a principal may send, and how many wrong tokens an address.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use platform::auth::{Claims, Role};
use platform::config::RateLimitSettings;

use super::app::{App, problem};

#[tokio::test]
async fn a_principal_over_its_burst_is_429_and_another_one_is_served() {
    let limit = RateLimitSettings {
        per_second: 1,
        burst: 3,
    };
    let app = App::with(|http| http.rate_limit = Some(limit)).await;
    let [answers @ .., refused, with_another_token] = asked_at_once(&app).await;
    for (left, answer) in [2, 1, 0].into_iter().zip(answers) {
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()["ratelimit"],
            format!("\"principal\";r={left};t=3")
        );
        assert_eq!(
            answer.headers()["ratelimit-policy"],
            "\"principal\";q=3;w=3"
        );
    }
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused).await["code"], "rate_limited");
    assert_eq!(with_another_token.status(), 429);
    let bob = app.token("bob");
    assert_eq!(app.get_as("/me", &bob).await.status(), 200);
}

/// The answers to four requests of a principal and a fifth with another token of the same, so soon
/// that nothing was given back meanwhile: where that takes too long, somebody else asks.
async fn asked_at_once(app: &App) -> [reqwest::Response; 5] {
    for number in 0..50 {
        let claims = Claims {
            tenant: "acme".to_owned(),
            sub: format!("ada-{number}"),
            role: Role::Admin,
        };
        let one = app.token(&claims.sub);
        let other = app.signer.sign(&claims, Duration::from_secs(30)).unwrap();
        let begun = Instant::now();
        let answers = [
            app.get_as("/me", &one).await,
            app.get_as("/me", &one).await,
            app.get_as("/me", &one).await,
            app.get_as("/me", &one).await,
            app.get_as("/me", &other).await,
        ];
        if begun.elapsed() < Duration::from_millis(900) {
            return answers;
        }
    }
    panic!("five requests never took less than a second");
}

#[tokio::test]
async fn the_limit_can_be_off() {
    let app = App::with(|http| http.rate_limit = None).await;
    let token = app.token("ada");
    for _ in 0..50 {
        let answer = app.get_as("/me", &token).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().get("ratelimit").is_none());
    }
}

#[tokio::test]
async fn an_address_may_send_20_wrong_tokens_a_second_and_its_good_ones_still_pass() {
    let app = App::spawn().await;
    let wrong = (0..200).map(|_| app.get_as("/me", "wrong"));
    let mut refused = 0;
    for answer in join_all(wrong).await {
        match answer.status().as_u16() {
            401 => {}
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "200 wrong tokens at once");
    assert_eq!(app.get_as("/me", &app.token("ada")).await.status(), 200);
    assert_eq!(app.get("/hello").await.status(), 200);
}
