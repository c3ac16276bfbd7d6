//! A store that lost its tail gives addresses out again, in another incarnation.

use std::time::Duration;

use event_store::incarnation::{IncarnationError, check_connection, fork};
use event_store::{AppendError, Verdict};
use events::Address;
use futures_util::future::join;
use testkit::eventually;

use crate::support::{Fixture, Node, count, entry, user};

#[tokio::test]
async fn an_entry_decided_in_an_older_incarnation_is_handed_back() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let stream = user(1);
    node.grow(&stream, 1).await;
    let (mark, _) = node.look(&stream).await;
    assert_eq!(fork(&fixture.database.pool(), 0).await.expect("a fork"), 2);
    let old = || entry(mark, &stream).write(&stream, 1, 1);
    assert_eq!(
        node.append(old().into()).await,
        Err(AppendError::OtherIncarnation)
    );
    let (mark, version) = node.look(&stream).await;
    assert_eq!((mark.incarnation, version), (2, 1));
    let appended = Verdict::Appended {
        incarnation: 2,
        address: Address {
            partition: stream.partition(count()),
            position: 2,
        },
        version: 2,
    };
    assert_eq!(node.grow(&stream, 1).await, appended);
    let log = node.store.incarnations().await.expect("a log");
    assert_eq!(log.rows()[1].heads[stream.partition(count()).index()], 1);
}

#[tokio::test]
async fn what_was_cached_of_a_lost_tail_is_not_believed() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (kept, lost) = (user(1), user(2));
    node.grow(&kept, 1).await;
    node.grow(&lost, 1).await;
    node.look(&lost).await;
    // What a restore does: the rows are gone, and the head is where it was before.
    let pool = fixture.database.pool();
    for statement in [
        "delete from event_store.stream where name like '%2'",
        "delete from event_store.event where aggregate_id like '%2'",
        "update event_store.partition_head set position = (select coalesce(max(position), 0)
        from event_store.event where event.partition = partition_head.partition)",
    ] {
        sqlx::query(statement).execute(&pool).await.expect("a loss");
    }
    let (mark, version) = node.look(&lost).await;
    assert_eq!(version, 0);
    let create = || entry(mark, &lost).write(&lost, 0, 1);
    let refused = node.append(create().into()).await;
    assert_eq!(
        refused,
        Err(AppendError::Unavailable),
        "the tail is lost and nobody has said so"
    );

    fork(&pool, 0).await.expect("a fork");
    assert!(matches!(
        node.grow(&lost, 1).await,
        Verdict::Appended {
            incarnation: 2,
            version: 1,
            ..
        }
    ));
    assert!(matches!(
        node.grow(&kept, 1).await,
        Verdict::Appended { version: 2, .. }
    ));
}

#[tokio::test]
async fn a_lane_that_connects_to_another_history_begins_the_next_incarnation() {
    let fixture = Fixture::create().await;
    let pool = fixture.database.pool();
    let first = fixture.node().await;
    first.grow(&user(1), 3).await;
    first.appender.shutdown().await;
    sqlx::query("update event_store.incarnation set timeline = timeline + 7")
        .execute(&pool)
        .await
        .expect("another history");
    let mut connection = pool.acquire().await.expect("a connection");
    let checked = check_connection(&mut connection).await;
    assert!(
        matches!(checked, Err(IncarnationError::OtherHistory)),
        "{checked:?}"
    );
    let (one, two) = (fixture.node().await, fixture.node().await);
    join(grow_in_the_end(&one, 2), grow_in_the_end(&two, 3)).await;
    assert_eq!(
        check_connection(&mut connection)
            .await
            .expect("the same history"),
        2
    );
    let log = one.store.incarnations().await.expect("a log");
    assert_eq!(
        log.rows().len(),
        2,
        "both nodes noticed, one of them wrote it"
    );
    assert_eq!(log.rows()[1].heads.iter().sum::<i64>(), 3);
}

/// Decides again for as long as the store is in another incarnation than was seen.
async fn grow_in_the_end(node: &Node, number: u128) {
    let stream = user(number);
    eventually(Duration::from_secs(5), async || {
        let (mark, version) = node.look(&stream).await;
        let grow = entry(mark, &stream).write(&stream, version, 1);
        node.append(grow.into()).await
    })
    .await;
}

#[tokio::test]
async fn a_fork_may_be_told_of_numbers_that_the_store_no_longer_knows() {
    let fixture = Fixture::create().await;
    assert_eq!(fork(&fixture.database.pool(), 6).await.expect("a fork"), 7);
}
