//! What the projector says on the channel of Redis reaches the in-process cache of every process.
//! Entries are fresh for a minute here: what is seen earlier was pushed.

use platform::admin::Health;
use testkit::eventually;
use testkit::history::active;
use uuid::Uuid;

use crate::app::{SOON, TestApp, acme, user};
use crate::redis_writer::{RedisWriter, touched, with_redis};

async fn subscribed(app: &TestApp) {
    eventually(SOON, || async {
        match app.readiness.report().await.checks["query_redis"].clone() {
            Health::Ok => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_ends_the_freshness_of_what_changed_in_every_process_and_of_nothing_else() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    let home = app.partition(1);
    let neighbour = (2..).find(|one| app.partition(*one) == home).expect("one");
    app.register(1).await;
    app.register(neighbour).await;
    let other = app.spawn_beside(with_redis()).await;
    for process in [&app, &other] {
        subscribed(process).await;
        for number in [1, neighbour] {
            assert_eq!(
                process.get(&user(number)).await.is_ok().json()["version"],
                1
            );
        }
    }
    let event = app.append(&acme(), Uuid::from_u128(1), &active(9)).await;
    let news = app.project_in_silence(&event).await;
    app.execute("update read_model.user_view_g1 set name = 'From PostgreSQL'")
        .await;
    for process in [&app, &other] {
        let before = process.get(&user(1)).await;
        assert_eq!(
            before.is_ok().json()["version"],
            1,
            "nobody has said anything yet"
        );
    }
    assert_eq!(writer.publish(&news).await, 2, "both are subscribed");
    for process in [&app, &other] {
        eventually(SOON, || async {
            let reply = process.get(&user(1)).await;
            if reply.is_ok().json()["version"] == 2 {
                Ok(())
            } else {
                Err(reply)
            }
        })
        .await;
        let kept = process.get(&user(neighbour)).await;
        assert_eq!(
            kept.is_ok().json()["name"],
            "Ada",
            "the neighbour did not change"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_news_and_nonsense_on_the_channel_change_nothing() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    let home = app.partition(1);
    app.register(1).await;
    subscribed(&app).await;
    app.get(&user(1)).await.is_ok();
    app.execute("update read_model.user_view_g1 set name = 'From PostgreSQL'")
        .await;
    let channel = read_model::cache::push::channel(&writer.namespace);
    let client = redis::Client::open(testkit::servers::redis_url()).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("the test server");
    for nonsense in ["", "{}", "{\"projection\":\"none\"}"] {
        let heard: i64 = redis::cmd("PUBLISH")
            .arg(&channel)
            .arg(nonsense)
            .query_async(&mut connection)
            .await
            .expect("published");
        assert_eq!(heard, 1);
    }
    assert_eq!(writer.publish(&touched(home, 1, 1)).await, 1);
    // The next news come after these on the same connection.
    let stranger = (2..).find(|one| app.partition(*one) != home).expect("one");
    app.register(stranger).await;
    app.get(&user(stranger)).await.is_ok();
    let event = app
        .append(&acme(), Uuid::from_u128(stranger), &active(1))
        .await;
    let news = app.project_in_silence(&event).await;
    writer.publish(&news).await;
    eventually(SOON, || async {
        let reply = app.get(&user(stranger)).await;
        if reply.is_ok().json()["version"] == 2 {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
    assert_eq!(app.get(&user(1)).await.is_ok().json()["name"], "Ada");
}
