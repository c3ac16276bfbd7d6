//! The client of Redis against a server of its own that is killed and paused.

use std::time::{Duration, Instant};

use platform::breaker::State;
use platform::config::RedisSettings;
use platform::redis_client::{Answer, RedisClient, RedisError};
use secrecy::SecretString;
use testkit::{OwnRedis, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

fn client(redis: &OwnRedis, timeout: Duration) -> RedisClient {
    let settings = RedisSettings {
        url: SecretString::from(redis.url()),
        timeout,
        ttl_user: Duration::from_secs(60),
    };
    RedisClient::new(&settings, &["return 'loaded'"]).unwrap()
}

async fn ping(client: &RedisClient) -> Result<Answer<(String,)>, RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("PING");
    client.call(&pipeline).await
}

async fn answered(client: &RedisClient) -> Answer<(String,)> {
    eventually(PATIENCE, || async { ping(client).await }).await
}

#[tokio::test]
async fn a_restarted_redis_is_another_run_and_has_the_scripts() {
    let redis = OwnRedis::start();
    let client = client(&redis, Duration::from_secs(2));
    let before = answered(&client).await;
    redis.kill();
    assert!(ping(&client).await.is_err());
    redis.start_again();
    let after = answered(&client).await;
    assert_ne!(before.run_id, after.run_id);
    let mut pipeline = redis::pipe();
    let script = redis::Script::new("return 'loaded'");
    pipeline.cmd("EVALSHA").arg(script.get_hash()).arg(0);
    let answer: Answer<(String,)> = client.call(&pipeline).await.unwrap();
    assert_eq!(answer.value.0, "loaded");
}

#[tokio::test]
async fn a_paused_redis_costs_each_caller_its_budget_and_then_nothing() {
    // A reconnect takes a second before it is given up, and nobody waits for it. On a machine that
    // is busy elsewhere a call may take as long by itself, but not again and again.
    const WAITS: Duration = Duration::from_secs(1);
    let redis = OwnRedis::start();
    let client = client(&redis, Duration::from_millis(30));
    let mut took = Duration::MAX;
    for _attempt in 0..10 {
        closed(&client).await;
        redis.pause();
        took = fails_every_caller(&client).await;
        redis.resume();
        if took < WAITS {
            break;
        }
    }
    assert!(took < WAITS, "{took:?}");
    closed(&client).await;
}

/// How long 40 calls at once took until the last of them had failed.
async fn fails_every_caller(client: &RedisClient) -> Duration {
    let begun = Instant::now();
    let calls = (0..40).map(|_| ping(client));
    let answers = futures_util::future::join_all(calls).await;
    let took = begun.elapsed();
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(client.state(), State::Open);
    assert!(matches!(ping(client).await, Err(RedisError::Open(_))));
    took
}

/// After its five seconds the breaker lets probes through, one at a time; one over the budget opens
/// it again.
async fn closed(client: &RedisClient) {
    eventually(PATIENCE, || async {
        let answer = ping(client).await.map(|_| ());
        match client.state() {
            State::Closed if answer.is_ok() => Ok(()),
            state => Err((state, answer)),
        }
    })
    .await;
}
