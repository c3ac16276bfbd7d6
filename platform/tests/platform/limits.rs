//! How many requests a principal may send, and how many wrong tokens an address.

use platform::config::RateLimitSettings;

use super::app::{App, problem};

#[tokio::test]
async fn a_principal_over_its_burst_is_429_and_another_one_is_served() {
    let limit = RateLimitSettings {
        per_second: 1,
        burst: 3,
    };
    let app = App::with(|http| http.rate_limit = Some(limit)).await;
    let (ada, bob) = (app.token("ada"), app.token("bob"));
    for left in [2, 1, 0] {
        let answer = app.get_as("/me", &ada).await;
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
    let refused = app.get_as("/me", &ada).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused).await["code"], "rate_limited");
    // Another token of the same principal does not help.
    let other = app.signer.sign(
        &platform::auth::Claims {
            tenant: "acme".to_owned(),
            sub: "ada".to_owned(),
            role: platform::auth::Role::Admin,
        },
        std::time::Duration::from_secs(30),
    );
    assert_eq!(app.get_as("/me", &other.unwrap()).await.status(), 429);
    assert_eq!(app.get_as("/me", &bob).await.status(), 200);
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
    let mut refused = 0;
    for _ in 0..60 {
        match app.get_as("/me", "wrong").await.status().as_u16() {
            401 => {}
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "60 wrong tokens in a row");
    assert_eq!(app.get_as("/me", &app.token("ada")).await.status(), 200);
    assert_eq!(app.get("/hello").await.status(), 200);
}
