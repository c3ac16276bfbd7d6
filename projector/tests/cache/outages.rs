//! Redis away or paused under a running projector: projections go on, and afterwards no value is
//! wrong.

use std::time::Duration;

use testkit::{OwnRedis, eventually};
use tokio_util::sync::CancellationToken;

use crate::stage::{PATIENCE, Stage};

async fn rows_named(stage: &Stage, name: &str) -> i64 {
    let count = "select count(*) from read_model.user_view where name = $1";
    sqlx::query_scalar(count)
        .bind(name)
        .fetch_one(&stage.pool)
        .await
        .expect("it ends well")
}

async fn projections_go_on_without(stop: impl Fn(&OwnRedis), start: impl Fn(&OwnRedis)) {
    let redis = OwnRedis::start();
    let mut stage = Stage::on(redis.url()).await;
    stage.settings.timeout = Duration::from_millis(200);
    stage.register(0..12).await;
    let mut projector = stage.projector().await;
    stage.settle(&mut projector).await;
    stage.warm().await;
    let stopping = CancellationToken::new();
    let engine = projector.engine.clone();
    let follower = projector.follower;
    let run = {
        let stopped = stopping.clone();
        tokio::spawn(async move { engine.run_until(None, stopped.cancelled()).await })
    };
    let follow = {
        let stopped = stopping.clone();
        tokio::spawn(follower.run_until(async move { stopped.cancelled().await }))
    };
    stop(&redis);
    for number in 0..12 {
        stage.rename(number, "during").await;
    }
    eventually(PATIENCE, || async {
        let named = rows_named(&stage, "during").await;
        if named == 12 { Ok(()) } else { Err(named) }
    })
    .await;
    start(&redis);
    // It has come up when a value that is filled now is vouched for at the head.
    eventually(PATIENCE, || async {
        stage.warm().await;
        let mut names = Vec::new();
        for number in 0..12 {
            names.push(stage.name(number).await);
        }
        let up = names.iter().all(|name| name.as_deref() == Some("during"));
        if up { Ok(()) } else { Err(names) }
    })
    .await;
    let checked = stage.check().await;
    assert_eq!((checked.right, checked.wrong), (12, 0));
    stopping.cancel();
    run.await.expect("it ends well").expect("it ends well");
    follow.await.expect("it ends well");
}

#[tokio::test]
async fn projections_go_on_while_redis_is_killed_and_no_value_is_wrong_afterwards() {
    projections_go_on_without(OwnRedis::kill, |redis| {
        redis.start_again();
    })
    .await;
}

#[tokio::test]
async fn projections_go_on_while_redis_is_paused_and_no_value_is_wrong_afterwards() {
    projections_go_on_without(OwnRedis::pause, OwnRedis::resume).await;
}
