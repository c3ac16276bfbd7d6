//! The scripts of the Redis cache against a real server: what a write-through and a fill do to what
//! is there.

use std::time::Duration;

use events::{Partition, TenantId};
use read_model::cache::commands::{self, MOVED, Sealed};
use read_model::cache::{Envelope, Epoch, Keyspace, Mark, Namespace, ValueKey, envelope, scripts};
use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use testkit::servers::redis_url;
use uuid::Uuid;

struct Stage {
    redis: MultiplexedConnection,
    keys: Keyspace,
    key: ValueKey,
    epoch: Epoch,
}

impl Stage {
    async fn new() -> Self {
        let client =
            redis::Client::open(redis_url()).expect("Redis answers, and what is ours parses");
        let mut redis = client
            .get_multiplexed_async_connection()
            .await
            .expect("Redis answers, and what is ours parses");
        for script in scripts::ALL {
            let mut load = redis::cmd("SCRIPT");
            let _: String = load
                .arg("LOAD")
                .arg(script)
                .query_async(&mut redis)
                .await
                .expect("Redis answers, and what is ours parses");
        }
        let namespace = Namespace::of_store(Uuid::new_v4());
        let keys = Keyspace::new(namespace, "user_view", 1, 1, 1);
        let tenant = TenantId::parse("acme").expect("Redis answers, and what is ours parses");
        Self {
            redis,
            key: keys.value(&tenant, "u1", "u1"),
            keys,
            epoch: Epoch::random(),
        }
    }

    async fn text(&mut self, pipeline: &Pipeline) -> String {
        let (text,): (String,) = pipeline
            .query_async(&mut self.redis)
            .await
            .expect("Redis answers, and what is ours parses");
        text
    }

    fn envelope(&self, as_of: &str) -> Envelope {
        Envelope {
            epoch: self.epoch,
            as_of: as_of
                .parse()
                .expect("Redis answers, and what is ours parses"),
            revision: 1,
        }
    }

    async fn write(&mut self, as_of: &str, body: &str) -> String {
        let envelope = self.envelope(as_of);
        let mut pipeline = redis::pipe();
        commands::write_through(&mut pipeline, sealed(&self.key, &envelope, body));
        self.text(&pipeline).await
    }

    async fn lease(&mut self, nonce: &str) -> bool {
        let mut pipeline = redis::pipe();
        commands::take_lease(&mut pipeline, &self.key, nonce);
        let (given,): (bool,) = pipeline
            .query_async(&mut self.redis)
            .await
            .expect("Redis answers, and what is ours parses");
        given
    }

    async fn fill(&mut self, nonce: &str, as_of: &str, body: &str) -> String {
        let envelope = self.envelope(as_of);
        let mut pipeline = redis::pipe();
        commands::fill(&mut pipeline, nonce, sealed(&self.key, &envelope, body));
        self.text(&pipeline).await
    }

    /// A value that was filled, whatever was there.
    async fn given(&mut self, as_of: &str, body: &str) {
        let mut pipeline = redis::pipe();
        commands::forget(&mut pipeline, &self.key);
        let () = pipeline
            .query_async(&mut self.redis)
            .await
            .expect("Redis answers, and what is ours parses");
        assert!(self.lease("given").await);
        assert_eq!(self.fill("given", as_of, body).await, "set");
    }

    async fn body(&mut self) -> Option<String> {
        let applied = [self.keys.applied(Partition(0))];
        let keys = [self.key.clone()];
        let (_, mut values): commands::LookedUp = commands::look_up(&applied, &keys)
            .query_async(&mut self.redis)
            .await
            .expect("Redis answers, and what is ours parses");
        let bytes = values.remove(0)?;
        let (_, key, body) =
            envelope::split(&bytes).expect("Redis answers, and what is ours parses");
        assert_eq!(key, self.key.as_str());
        Some(String::from_utf8(body.to_vec()).expect("Redis answers, and what is ours parses"))
    }
}

fn sealed<'v>(key: &'v ValueKey, envelope: &'v Envelope, body: &'v str) -> Sealed<'v> {
    Sealed {
        key,
        envelope,
        body: body.as_bytes(),
        ttl: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_write_through_changes_what_is_there_to_what_is_later_and_never_creates() {
    let mut stage = Stage::new().await;
    assert_eq!(stage.write("1.0.5", "new").await, "absent");
    assert_eq!(stage.body().await, None);
    // What is there, what is written, what that comes to, and what is there then.
    let truth = [
        ("1.0.5", "1.0.6", "set", Some("new")),
        ("1.0.9", "1.0.10", "set", Some("new")),
        ("1.0.5", "1.0.5", "kept", Some("old")),
        ("1.0.6", "1.0.5", "kept", Some("old")),
        ("1.0.5", "2.0.6", "set", Some("new")),
        ("1.0.5_1.1.5", "1.0.6_1.1.5", "set", Some("new")),
        ("1.0.5", "1.0.5_1.1.1", "set", Some("new")),
        ("1.0.5_1.1.1", "1.0.5", "kept", Some("old")),
        ("1.1.5_1.0.5", "1.0.5_1.1.5", "kept", Some("old")),
        ("1.0.6_1.1.5", "1.0.5_1.1.6", "apart", None),
        ("1.0.6", "1.1.6", "apart", None),
    ];
    for (before, after, result, left) in truth {
        stage.given(before, "old").await;
        let case = format!("{before} then {after}");
        assert_eq!(stage.write(after, "new").await, result, "{case}");
        assert_eq!(stage.body().await.as_deref(), left, "{case}");
    }
}

#[tokio::test]
async fn a_value_of_another_epoch_is_deleted_by_a_write_and_replaced_by_a_fill() {
    let mut stage = Stage::new().await;
    stage.given("1.0.9", "old").await;
    stage.epoch = Epoch::random();
    assert_eq!(stage.write("1.0.10", "new").await, "cold");
    assert_eq!(stage.body().await, None);
    stage.given("1.0.9", "old").await;
    stage.epoch = Epoch::random();
    assert!(stage.lease("n").await);
    assert_eq!(stage.fill("n", "1.0.3", "new").await, "set");
    assert_eq!(stage.body().await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_slow_fill_cannot_overwrite_a_newer_value_or_put_an_old_one_in_its_place() {
    let mut stage = Stage::new().await;
    // The write came while the value was absent: it took the lease away.
    assert!(stage.lease("slow").await);
    assert_eq!(stage.write("1.0.8", "new").await, "absent");
    assert_eq!(stage.fill("slow", "1.0.7", "old").await, "refused");
    assert_eq!(stage.body().await, None);
    // A second reader filled meanwhile, and its value left again.
    assert!(stage.lease("quick").await);
    assert_eq!(stage.fill("quick", "1.0.8", "new").await, "set");
    assert_eq!(stage.fill("slow", "1.0.7", "old").await, "refused");
    assert_eq!(stage.body().await.as_deref(), Some("new"));
    // A later value under the same lease wins, too.
    assert!(stage.lease("again").await);
    assert_eq!(stage.fill("again", "1.0.7", "old").await, "kept");
    assert_eq!(stage.body().await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_lease_is_given_once_and_used_once() {
    let mut stage = Stage::new().await;
    assert!(stage.lease("mine").await);
    assert!(!stage.lease("yours").await);
    assert_eq!(stage.fill("yours", "1.0.1", "yours").await, "refused");
    assert_eq!(stage.fill("mine", "1.0.1", "mine").await, "set");
    assert_eq!(stage.fill("mine", "1.0.2", "mine").await, "refused");
}

#[tokio::test]
async fn applied_is_moved_only_from_what_is_expected_there() {
    let mut stage = Stage::new().await;
    let applied = stage.keys.applied(Partition(3));
    let mark = |position| Mark {
        epoch: stage.epoch,
        position,
        run_id: "run".to_owned(),
    };
    let (first, second, third) = (mark(1), mark(2), mark(3));
    let from_nothing = commands::move_applied(&applied, &[None], &first);
    assert_eq!(stage.text(&from_nothing).await, MOVED);
    assert_eq!(stage.text(&from_nothing).await, first.to_string());
    let wrong = commands::move_applied(&applied, &[Some(&second), None], &third);
    assert_eq!(stage.text(&wrong).await, first.to_string());
    let either = commands::move_applied(&applied, &[Some(&second), Some(&first)], &third);
    assert_eq!(stage.text(&either).await, MOVED);
    assert_eq!(stage.text(&either).await, third.to_string());
}

#[tokio::test]
async fn a_value_stays_for_its_ttl() {
    let mut stage = Stage::new().await;
    stage.given("1.0.5", "old").await;
    assert_eq!(stage.write("1.0.6", "new").await, "set");
    let key = stage.key.as_str().to_owned();
    let mut pttl = redis::cmd("PTTL");
    let left: i64 = pttl
        .arg(key)
        .query_async(&mut stage.redis)
        .await
        .expect("Redis answers, and what is ours parses");
    assert!((1..=60_000).contains(&left), "{left}");
}
