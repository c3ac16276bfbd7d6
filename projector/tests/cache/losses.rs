//! A Redis that lost or went back: nothing old is served, whoever looks first.

use testkit::OwnRedis;

use crate::stage::{Projector, Stage};

/// A user whose value in Redis is `old` in a dump that is taken now, and `new` afterwards.
async fn old_dump(redis: &OwnRedis, stage: &Stage, projector: &mut Projector) -> Vec<u8> {
    stage.register(0..8).await;
    stage.settle(projector).await;
    stage.rename(1, "old").await;
    stage.settle(projector).await;
    stage.warm().await;
    assert_eq!(stage.name(1).await.as_deref(), Some("old"));
    let mut connection = stage.redis().await;
    let saved: String = redis::cmd("SAVE")
        .query_async(&mut connection)
        .await
        .expect("it works here");
    assert_eq!(saved, "OK");
    let dump = std::fs::read(redis.dump()).expect("it works here");
    stage.rename(1, "new").await;
    stage.settle(projector).await;
    assert_eq!(stage.name(1).await.as_deref(), Some("new"));
    dump
}

#[tokio::test]
async fn of_an_old_dump_nothing_is_served_and_everything_is_cold() {
    let redis = OwnRedis::start();
    let stage = Stage::on(redis.url()).await;
    let mut projector = stage.projector().await;
    let dump = old_dump(&redis, &stage, &mut projector).await;
    let partition = stage.partition(&stage.user(1));
    let before = stage.mark(partition).await.expect("it works here");
    redis.kill();
    std::fs::write(redis.dump(), dump).expect("it works here");
    redis.start_again();
    let found = stage.mark(partition).await.expect("it works here");
    assert_eq!(found.epoch, before.epoch, "the dump was loaded");
    assert!(found.position < before.position, "the dump is old");
    assert_eq!(stage.name(1).await, None, "before any projector looked");
    stage.settle(&mut projector).await;
    assert_eq!(stage.name(1).await, None);
    assert_ne!(
        stage.mark(partition).await.expect("it works here").epoch,
        before.epoch
    );
    let checked = stage.check().await;
    assert_eq!((checked.wrong, checked.right), (0, 0));
    stage.warm().await;
    assert_eq!(stage.name(1).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn an_old_dump_that_a_new_projector_finds_is_not_believed_either() {
    let redis = OwnRedis::start();
    let stage = Stage::on(redis.url()).await;
    let mut projector = stage.projector().await;
    let dump = old_dump(&redis, &stage, &mut projector).await;
    let partition = stage.partition(&stage.user(1));
    let before = stage.mark(partition).await.expect("it works here");
    projector.engine.leave().await;
    drop(projector);
    redis.kill();
    std::fs::write(redis.dump(), dump).expect("it works here");
    redis.start_again();
    let mut next = stage.projector().await;
    stage.settle(&mut next).await;
    assert_ne!(
        stage.mark(partition).await.expect("it works here").epoch,
        before.epoch
    );
    assert_eq!(stage.name(1).await, None);
}

#[tokio::test]
async fn a_mark_that_went_back_in_one_run_makes_everything_cold() {
    let redis = OwnRedis::start();
    let stage = Stage::on(redis.url()).await;
    let mut projector = stage.projector().await;
    old_dump(&redis, &stage, &mut projector).await;
    let partition = stage.partition(&stage.user(1));
    let before = stage.mark(partition).await.expect("it works here");
    // As a server that loads data without a restart would show it.
    let mut back = before.clone();
    back.position -= 1;
    let mut set = redis::cmd("SET");
    set.arg(stage.keys().applied(partition))
        .arg(back.to_string());
    let () = set
        .query_async(&mut stage.redis().await)
        .await
        .expect("it works here");
    stage.settle(&mut projector).await;
    assert_ne!(
        stage.mark(partition).await.expect("it works here").epoch,
        before.epoch
    );
    assert_eq!(stage.name(1).await, None);
}

#[tokio::test]
async fn a_flush_makes_everything_cold_and_it_fills_again() {
    let redis = OwnRedis::start();
    let stage = Stage::on(redis.url()).await;
    let mut projector = stage.projector().await;
    old_dump(&redis, &stage, &mut projector).await;
    let partition = stage.partition(&stage.user(1));
    let before = stage.mark(partition).await.expect("it works here");
    let flush = redis::cmd("FLUSHALL");
    let () = flush
        .query_async(&mut stage.redis().await)
        .await
        .expect("it works here");
    assert_eq!(stage.name(1).await, None);
    stage.rename(1, "newest").await;
    stage.settle(&mut projector).await;
    assert_ne!(
        stage.mark(partition).await.expect("it works here").epoch,
        before.epoch
    );
    assert_eq!(stage.warm().await.filled, 8);
    assert_eq!(stage.name(1).await.as_deref(), Some("newest"));
    assert_eq!(stage.check().await.wrong, 0);
}

#[tokio::test]
async fn an_effect_that_fails_stops_applied_until_it_is_made_up_for() {
    let redis = OwnRedis::start();
    let stage = Stage::on(redis.url()).await;
    let mut projector = stage.projector().await;
    old_dump(&redis, &stage, &mut projector).await;
    let partition = stage.partition(&stage.user(1));
    let before = stage.mark(partition).await.expect("it works here");
    let refuse = async |replicas: u8| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("min-replicas-to-write").arg(replicas);
        let () = set
            .query_async(&mut stage.redis().await)
            .await
            .expect("it works here");
    };
    refuse(1).await;
    stage.rename(1, "newest").await;
    while stage.behind().await > 0 {
        projector.engine.step().await;
    }
    assert!(!projector.follower.step().await);
    assert_eq!(stage.mark(partition).await, Some(before.clone()));
    let (row, good_for) = stage.read(1).await.expect("it works here");
    assert_eq!(
        (row.name.as_deref(), good_for),
        (Some("new"), before.position)
    );
    refuse(0).await;
    stage.settle(&mut projector).await;
    assert_eq!(
        stage.mark(partition).await.expect("it works here").position,
        before.position + 1
    );
    assert!(matches!(
        stage.name(1).await.as_deref(),
        None | Some("newest")
    ));
    assert_eq!(stage.check().await.wrong, 0);
}
