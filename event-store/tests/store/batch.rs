//! Entries that meet in one batch.

use event_store::{AppendSettings, Verdict};
use futures_util::future::join_all;
use sqlx::Row as _;

use crate::support::{Fixture, append_together, entry, routed, user};

#[tokio::test]
async fn entries_of_one_batch_see_what_earlier_ones_left() {
    let fixture = Fixture::create().await;
    let one_lane = AppendSettings {
        lanes: 1,
        ..AppendSettings::default()
    };
    let node = fixture.node_with(one_lane).await;
    let (a, b) = (routed("a", "route"), routed("b", "route"));
    let (mark, _) = node.look(&a).await;
    let answers = append_together(
        &fixture,
        &node,
        vec![
            entry(mark, &a).write(&a, 0, 1).into(),
            entry(mark, &b).write(&b, 0, 1).given(&a, 0).into(),
            entry(mark, &b).write(&b, 0, 2).into(),
            entry(mark, &a).write(&a, 0, 1).into(),
        ],
    )
    .await;
    assert!(matches!(
        answers[0],
        Ok(Verdict::Appended { version: 1, .. })
    ));
    assert_eq!(
        answers[1],
        Ok(Verdict::Conflict {
            stream: a,
            actual: 1
        })
    );
    assert!(matches!(
        answers[2],
        Ok(Verdict::Appended { version: 2, .. })
    ));
    assert_eq!(answers[3], Ok(Verdict::IdTaken));
}

#[tokio::test]
async fn many_writers_over_two_nodes_leave_dense_positions_and_true_digests() {
    let fixture = Fixture::create().await;
    let nodes = [fixture.node().await, fixture.node().await];
    let writers = (0..32_u128).map(|writer| {
        let node = &nodes[usize::try_from(writer % 2).expect("0 or 1")];
        async move {
            for round in 0..20 {
                // Four writers share five streams: a conflict is a verdict, too.
                node.grow(&user(writer / 4 * 100 + round % 5), 1).await;
            }
        }
    });
    join_all(writers).await;
    let pool = fixture.database.pool();
    let checks = event_store::store_info::check(&pool)
        .await
        .expect("a check");
    for check in &checks {
        assert!(check.is_sound(), "{check:?}");
    }
    let rows = sqlx::query(
        "select count(*), count(distinct (partition, position)) from event_store.event",
    )
    .fetch_one(&pool)
    .await
    .expect("counts");
    let heads: i64 = checks.iter().map(|check| check.head.position).sum();
    assert_eq!(rows.get::<i64, _>(0), heads);
    assert!(heads >= 20, "some were appended");
}

#[tokio::test]
async fn time_never_goes_back_in_a_partition() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let stream = user(1);
    node.grow(&stream, 1).await;
    let pool = fixture.database.pool();
    let ahead = "update event_store.partition_head set recorded_at = now() + interval '1 hour'";
    sqlx::query(ahead)
        .execute(&pool)
        .await
        .expect("a clock that was wrong");
    node.grow(&stream, 1).await;
    node.grow(&stream, 1).await;
    let backwards: i64 = sqlx::query_scalar(
        "select count(*) from event_store.event as later join event_store.event as earlier
        on earlier.partition = later.partition and earlier.position = later.position - 1
        where later.recorded_at < earlier.recorded_at",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert_eq!(backwards, 0);
}
