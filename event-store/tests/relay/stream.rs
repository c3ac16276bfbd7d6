//! What goes into the topic: every event, in order, from the store or from memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use event_store::relay::{Outcome, RelaySettings, StopReason};
use events::Partition;
use testkit::{eventually, topic_log};
use uuid::Uuid;

use crate::stage::{Stage, relay_all, settings, step_until};

#[tokio::test]
async fn the_topic_holds_every_event_in_order() {
    let stage = Stage::create().await;
    for count in [1, 250, 7] {
        stage.append(count).await;
    }
    let relay = stage.relay();
    relay_all(&relay).await;
    assert_eq!(stage.assert_relayed().await, 0);
    stage.append(30).await;
    relay_all(&relay).await;
    assert_eq!(
        stage.assert_relayed().await,
        0,
        "one relay sends nothing twice"
    );
    relay.leave().await;
}

#[tokio::test]
async fn no_more_records_are_on_their_way_than_relay_in_flight_max() {
    let stage = Stage::create().await;
    stage.append_to(stage.user_in(0), 95, "").await;
    let few = RelaySettings {
        in_flight_max: 10,
        ..settings()
    };
    let relay = stage.relay_with(few, None);
    relay.tend().await.expect("the leases");
    let most = AtomicUsize::new(0);
    eventually(Duration::from_secs(60), || async {
        let outcome = relay.step(Partition(0)).await;
        if let Outcome::Sent(records) = outcome {
            most.fetch_max(records, Ordering::Relaxed);
        }
        (outcome == Outcome::Idle).then_some(()).ok_or(outcome)
    })
    .await;
    let most = most.load(Ordering::Relaxed);
    assert!((1..=10).contains(&most), "{most} at once");
    assert_eq!(stage.assert_relayed().await, 0);
    relay.leave().await;
}

#[tokio::test]
async fn what_a_lane_has_just_committed_goes_straight_from_memory() {
    let stage = Stage::create().await;
    // The lanes know the heads: there is nothing to read, and what comes is wanted all the same.
    let heads = stage.appender.heads_changed();
    eventually(Duration::from_secs(20), || async {
        let known = heads.borrow().positions[2] >= 0;
        known.then_some(()).ok_or("the head is not known")
    })
    .await;
    let relay = stage.relay_with(settings(), Some(&stage.appender));
    relay_all(&relay).await;
    let user = stage.user_in(2);
    stage.append_to(user, 5, "").await;
    // Nothing can be read from the store any more.
    sqlx::query("alter table event_store.event rename to away")
        .execute(&stage.pool())
        .await
        .expect("a rename");
    step_until(&relay, 2, |outcome| *outcome == Outcome::Idle).await;
    sqlx::query("alter table event_store.away rename to event")
        .execute(&stage.pool())
        .await
        .expect("a rename");
    assert_eq!(stage.assert_relayed().await, 0);
    relay.leave().await;
}

#[tokio::test]
async fn comparing_the_topic_with_the_store_holds_no_event_up() {
    let stage = Stage::create().await;
    let always = RelaySettings {
        compare_interval: Duration::ZERO,
        ..settings()
    };
    // The lane is connected: a connection that begins reads the incarnations, too.
    stage.append_to(stage.user_in(0), 1, "").await;
    let relay = stage.relay_with(always, Some(&stage.appender));
    relay_all(&relay).await;
    // A comparison that has begun does not end, because the incarnations cannot be read.
    let mut lock = stage.pool().begin().await.expect("a transaction");
    sqlx::query("lock table event_store.incarnation in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    let sending = async {
        step_until(&relay, 2, |outcome| *outcome == Outcome::Idle).await;
        stage.append_to(stage.user_in(2), 5, "").await;
        let sent = relay.step(Partition(2)).await;
        assert_eq!(sent, Outcome::Sent(5));
        step_until(&relay, 2, |outcome| *outcome == Outcome::Idle).await;
    };
    let sent = tokio::time::timeout(Duration::from_secs(20), sending).await;
    sent.expect("no step waits for the comparison");
    lock.rollback().await.expect("a rollback");
    assert_eq!(stage.assert_relayed().await, 0);
    relay.leave().await;
}

#[tokio::test]
async fn a_record_that_kafka_refuses_stops_its_partition_and_is_not_skipped() {
    let stage = Stage::create().await;
    stage.topic.limit_records("2000").await;
    let relay = stage.relay();
    let (other, user) = (stage.user_in(1), stage.user_in(0));
    stage.append_to(user, 3, "short").await;
    stage
        .append_to(Uuid::from_u128(user.as_u128() + (1 << 64)), 1, "")
        .await;
    let long: String = (0..2000).map(|_| Uuid::new_v4().to_string()).collect();
    let neighbour = (1_u128..)
        .map(|number| Uuid::from_u128(number << 32))
        .find(|id| {
            let tenant = events::TenantId::parse("acme").expect("a tenant");
            let stream = events::StreamId::user(&tenant, *id);
            stream.partition(stage.store.partitions()) == Partition(0)
        })
        .expect("some user lives there");
    stage.append_to(neighbour, 1, &long).await;
    stage.append_to(other, 5, "short").await;
    relay.tend().await.expect("the leases");
    let stopped = |outcome: &Outcome| *outcome == Outcome::Stopped(StopReason::Undeliverable);
    step_until(&relay, 0, stopped).await;
    assert!(
        relay
            .complaint()
            .is_some_and(|complaint| complaint.contains("1 partitions"))
    );
    // The others go on.
    step_until(&relay, 1, |outcome| *outcome == Outcome::Idle).await;
    let before = topic_log::read(&stage.topic, 0).await.expect("records");
    assert!(
        before.len() >= 3,
        "what was before it is there: {}",
        before.len()
    );

    stage
        .topic
        .limit_records(testkit::topic::RECORD_BYTES_MAX)
        .await;
    eventually(Duration::from_secs(60), || async {
        relay_all(&relay).await;
        let complaint = relay.complaint();
        complaint.map_or(Ok(()), Err)
    })
    .await;
    stage.assert_relayed().await;
    relay.leave().await;
}

#[tokio::test]
async fn a_topic_that_is_ahead_of_the_store_stops_its_partition() {
    let stage = Stage::create().await;
    stage.append_to(stage.user_in(3), 4, "").await;
    let relay = stage.relay();
    relay_all(&relay).await;
    relay.leave().await;
    // The tail is lost, and nobody has said so.
    for sql in [
        "delete from event_store.event where partition = 3 and position > 2",
        "update event_store.partition_head set position = 2 where partition = 3",
    ] {
        sqlx::query(sql).execute(&stage.pool()).await.expect(sql);
    }
    let relay = stage.relay();
    relay.tend().await.expect("the leases");
    let outcome = relay.step(Partition(3)).await;
    assert_eq!(outcome, Outcome::Stopped(StopReason::TopicAhead));
    // Once it is said, what is above the heads is void, and the relay goes on.
    event_store::incarnation::fork(&stage.pool(), 0)
        .await
        .expect("the next incarnation");
    relay_all(&relay).await;
    stage.assert_relayed().await;
    relay.leave().await;
}
