//! What is committed is written through, and what was missed is made up for.

use futures_util::StreamExt as _;
use platform::redis_client::RedisClient;
use read_model::cache::{push, scripts};

use crate::stage::Stage;

#[tokio::test]
async fn what_is_committed_is_written_through_and_vouched_for() {
    let stage = Stage::shared().await;
    let mut projector = stage.projector().await;
    stage.register(0..30).await;
    stage.settle(&mut projector).await;
    assert_eq!(stage.name(3).await, None, "only readers create values");
    assert_eq!(stage.warm().await.filled, 30);
    assert_eq!(stage.name(3).await.as_deref(), Some("user-3"));
    stage.rename(3, "Ada").await;
    stage.settle(&mut projector).await;
    let (row, good_for) = stage.read(3).await.unwrap();
    assert_eq!(row.name.as_deref(), Some("Ada"));
    let partition = stage.partition(&stage.user(3));
    assert_eq!(stage.mark(partition).await.unwrap().position, good_for);
    let checked = stage.check().await;
    assert_eq!((checked.right, checked.wrong, checked.cold), (30, 0, 0));
}

#[tokio::test]
async fn a_projector_that_died_before_it_wrote_is_made_up_for_by_the_next() {
    let stage = Stage::shared().await;
    let mut first = stage.projector().await;
    let [one, other] = stage.neighbours(2)[..] else {
        unreachable!("two were asked for")
    };
    stage.register([one, other]).await;
    stage.settle(&mut first).await;
    stage.warm().await;
    let partition = stage.partition(&stage.user(one));
    let before = stage.mark(partition).await.unwrap();
    stage.rename(one, "Ada").await;
    // Committed, and never written.
    while stage.behind().await > 0 {
        first.engine.step().await;
    }
    first.engine.leave().await;
    drop(first);
    let (row, good_for) = stage.read(one).await.unwrap();
    let old = format!("user-{one}");
    assert_eq!((row.name, good_for), (Some(old), before.position));
    let mut second = stage.projector().await;
    stage.settle(&mut second).await;
    assert_eq!(stage.name(one).await, None, "forgotten, not old");
    let kept = format!("user-{other}");
    assert_eq!(stage.name(other).await, Some(kept), "the others stay");
    let after = stage.mark(partition).await.unwrap();
    assert_eq!(
        (after.epoch, after.position),
        (before.epoch, before.position + 1)
    );
}

#[tokio::test]
async fn further_behind_than_the_maximum_everything_is_cold() {
    let stage = Stage::shared().await;
    let mut first = stage.projector().await;
    let [one, other] = stage.neighbours(2)[..] else {
        unreachable!("two were asked for")
    };
    stage.register([one, other]).await;
    stage.settle(&mut first).await;
    stage.warm().await;
    for change in 0..6 {
        stage.rename(one, &format!("Ada {change}")).await;
    }
    while stage.behind().await > 0 {
        first.engine.step().await;
    }
    first.engine.leave().await;
    drop(first);
    let partition = stage.partition(&stage.user(one));
    let before = stage.mark(partition).await.unwrap();
    let mut second = stage.projector_with(5).await;
    stage.settle(&mut second).await;
    assert_eq!(
        (stage.name(one).await, stage.name(other).await),
        (None, None)
    );
    assert_ne!(stage.mark(partition).await.unwrap().epoch, before.epoch);
    let checked = stage.check().await;
    assert_eq!((checked.cold, checked.wrong), (2, 0));
    // And it warms up again.
    assert_eq!(stage.warm().await.filled, 2);
    assert_eq!(stage.name(one).await.as_deref(), Some("Ada 5"));
}

#[tokio::test]
async fn what_found_the_queue_full_is_forgotten_and_projections_never_wait() {
    let stage = Stage::shared().await;
    let mut projector = stage.projector().await;
    let one = stage.neighbours(1)[0];
    stage.register([one]).await;
    stage.settle(&mut projector).await;
    stage.warm().await;
    // One batch a step, more of them than the queue holds.
    for change in 0..80 {
        stage.rename(one, &format!("Ada {change}")).await;
        while stage.behind().await > 0 {
            projector.engine.step().await;
        }
    }
    stage.settle(&mut projector).await;
    assert_eq!(stage.name(one).await, None, "forgotten, not old");
    assert_eq!(stage.warm().await.filled, 1);
    assert_eq!(stage.name(one).await.as_deref(), Some("Ada 79"));
    assert_eq!(stage.check().await.wrong, 0);
}

#[tokio::test]
async fn nothing_is_kept_of_a_user_whose_event_is_parked() {
    let stage = Stage::shared().await;
    let mut projector = stage.projector().await;
    let [one, other] = stage.neighbours(2)[..] else {
        unreachable!("two were asked for")
    };
    stage.register([one, other]).await;
    stage.settle(&mut projector).await;
    stage.warm().await;
    stage.poison(one).await;
    stage.settle(&mut projector).await;
    assert_eq!(stage.name(one).await, None);
    assert_eq!(stage.warm().await.filled, 0, "nor filled again");
    assert_eq!(stage.name(other).await, Some(format!("user-{other}")));
}

#[tokio::test]
async fn every_batch_is_told_with_what_it_touched() {
    let stage = Stage::shared().await;
    let mut projector = stage.projector().await;
    stage.settle(&mut projector).await;
    let client = RedisClient::new(&stage.settings, &scripts::ALL).unwrap();
    let channel = push::channel(&stage.namespace);
    let mut messages = Box::pin(client.subscribe(&channel).await.unwrap());
    stage.register([7]).await;
    stage.settle(&mut projector).await;
    let message = messages.next().await.unwrap();
    let applied = push::read(&message).unwrap();
    let user = stage.user(7);
    assert_eq!(applied.partition, stage.partition(&user));
    assert_eq!((applied.generation, applied.position), (1, 1));
    assert_eq!(applied.touched[0].id, user.id.to_string());
}
