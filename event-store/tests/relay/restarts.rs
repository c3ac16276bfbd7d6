//! Where a relay goes on: after its own end, and after the topic's.

use std::time::Duration;

use event_store::relay::{Outcome, RelaySettings, standing};
use events::Partition;
use testkit::{TestTopic, eventually};

use crate::stage::{Stage, relay_all, settings, step_until};

const FORGET: &str = "update event_store.relay_lease set relayed_position = 0";
const FREE: &str = "update event_store.relay_lease set expires_at = 'epoch', owner = null";
const GONE: &str = "delete from event_store.relay_node";

async fn run(stage: &Stage, sql: &'static str) {
    sqlx::query(sql).execute(&stage.pool()).await.expect(sql);
}

#[tokio::test]
async fn a_relay_goes_on_where_the_topic_ends_whatever_postgres_remembers() {
    let stage = Stage::create().await;
    stage.append(150).await;
    let relay = stage.relay();
    relay_all(&relay).await;
    // Its process is gone, without a word.
    run(&stage, FORGET).await;
    run(&stage, FREE).await;
    run(&stage, GONE).await;
    stage.append(20).await;
    let next = stage.relay();
    relay_all(&next).await;
    assert_eq!(stage.assert_relayed().await, 0, "nothing is sent twice");
    next.leave().await;
}

#[tokio::test]
async fn a_topic_made_again_under_a_running_relay_is_filled_from_its_beginning() {
    let stage = Stage::create().await;
    for partition in 0..4 {
        stage.append_to(stage.user_in(partition), 40, "").await;
    }
    let relay = stage.relay_with(
        RelaySettings {
            compare_interval: Duration::from_millis(200),
            ..settings()
        },
        None,
    );
    relay_all(&relay).await;
    stage.topic.delete().await;
    make_again(&stage.topic).await;
    eventually(Duration::from_secs(90), || async {
        relay_all(&relay).await;
        testkit::topic_log::check(&stage.topic, &stage.pool()).await
    })
    .await;
    relay.leave().await;
}

/// Kafka deletes a topic a little after it has said so.
async fn make_again(topic: &TestTopic) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    topic.make().await;
}

#[tokio::test]
async fn a_topic_that_begins_in_the_middle_is_cut_and_filled() {
    let stage = Stage::create().await;
    stage.append_to(stage.user_in(1), 20, "").await;
    let relay = stage.relay();
    relay_all(&relay).await;
    relay.leave().await;
    // Another topic, into which a relay that had noticed nothing wrote what came next: the same as
    // a log whose first record, at offset 0, is not position 1.
    let late = Stage {
        topic: TestTopic::create().await,
        ..stage
    };
    run(
        &late,
        "update event_store.partition_head set floor = 10 where partition = 1",
    )
    .await;
    let wrong = late.relay();
    relay_all(&wrong).await;
    wrong.leave().await;
    run(
        &late,
        "update event_store.partition_head set floor = 0 where partition = 1",
    )
    .await;
    let first = testkit::topic_log::read(&late.topic, 1)
        .await
        .expect("records");
    assert_eq!(first[0].event.address.position, 11);

    let relay = late.relay();
    relay_all(&relay).await;
    late.assert_relayed().await;
    relay.leave().await;
}

#[tokio::test]
async fn expiry_is_not_loss_but_an_operator_may_say_that_it_is() {
    let stage = Stage::create().await;
    stage.append_to(stage.user_in(2), 30, "").await;
    let relay = stage.relay();
    relay_all(&relay).await;
    relay.leave().await;
    stage.topic.expire(2).await;
    let relay = stage.relay();
    relay.tend().await.expect("the leases");
    let outcome = relay.step(Partition(2)).await;
    assert_eq!(outcome, Outcome::Resumed { after: 30 });
    step_until(&relay, 2, |outcome| *outcome == Outcome::Idle).await;
    let records = testkit::topic_log::read(&stage.topic, 2)
        .await
        .expect("records");
    assert!(records.is_empty(), "nothing is sent again");

    let asked = standing::ask_refill(&stage.pool(), Some(2))
        .await
        .expect("the asking");
    assert_eq!(asked, [2]);
    relay_all(&relay).await;
    let patience = Duration::from_secs(5);
    let open = standing::await_refill(&stage.pool(), Some(2), patience).await;
    assert_eq!(open.expect("the answer"), [0_i32; 0]);
    stage.assert_relayed().await;
    relay.leave().await;
}

#[tokio::test]
async fn after_a_change_of_incarnation_it_goes_on_behind_the_last_record_that_is_not_void() {
    let stage = Stage::create().await;
    let user = stage.user_in(0);
    stage.append_to(user, 10, "").await;
    let relay = stage.relay();
    relay_all(&relay).await;
    // The store loses its tail and says so; then it gives the same positions out again.
    run(&stage, "delete from event_store.event where position > 6").await;
    run(
        &stage,
        "update event_store.partition_head set position = least(position, 6)",
    )
    .await;
    event_store::incarnation::fork(&stage.pool(), 0)
        .await
        .expect("the next incarnation");
    let other = (2_u128..)
        .map(|number| uuid::Uuid::from_u128(number << 64))
        .find(|id| {
            let tenant = events::TenantId::parse("acme").expect("a tenant");
            let stream = events::StreamId::user(&tenant, *id);
            stream.partition(stage.store.partitions()) == Partition(0)
        })
        .expect("some user lives there");
    let appended = eventually(Duration::from_secs(20), || async {
        let head = stage.store.heads().await.expect("the heads")[0];
        (head.incarnation == 2)
            .then_some(())
            .ok_or(head.incarnation)
    });
    appended.await;
    stage.append_to(other, 8, "").await;
    relay_all(&relay).await;
    stage.assert_relayed().await;
    relay.leave().await;
}
