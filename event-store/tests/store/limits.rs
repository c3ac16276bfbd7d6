//! Bounds of the append, and what happens at them.

use std::time::Duration;

use event_store::{AppendError, AppendSettings, Verdict};
use futures_util::future::join_all;
use testkit::eventually;

use crate::support::{Blocker, Fixture, append_together, entry, routed, user};

fn one_lane() -> AppendSettings {
    AppendSettings {
        lanes: 1,
        ..AppendSettings::default()
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_what_waits_gets_its_verdict() {
    let fixture = Fixture::create().await;
    let node = fixture
        .node_with(AppendSettings {
            queue_max: 3,
            ..one_lane()
        })
        .await;
    let (mark, _) = node.look(&user(0)).await;
    let entries = (0..10).map(|n| entry(mark, &user(n)).write(&user(n), 0, 1).into());
    let answers = append_together(&fixture, &node, entries.collect()).await;
    let full = answers
        .iter()
        .filter(|answer| **answer == Err(AppendError::QueueFull))
        .count();
    let appended = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(Verdict::Appended { .. })));
    assert_eq!((appended.count(), full), (3, 7), "{answers:?}");
}

#[tokio::test]
async fn an_entry_whose_data_is_refused_fails_alone() {
    let fixture = Fixture::create().await;
    let node = fixture.node_with(one_lane()).await;
    let (mark, _) = node.look(&routed("0", "route")).await;
    let mut streams: Vec<_> = (0..9).map(|n| routed(&n.to_string(), "route")).collect();
    streams[4] = routed("no text of Postgres\0", "route");
    let entries = streams
        .iter()
        .map(|stream| entry(mark, stream).write(stream, 0, 1).into());
    let answers = append_together(&fixture, &node, entries.collect()).await;
    let sqlstate = "22021".to_owned();
    for (number, answer) in answers.into_iter().enumerate() {
        if number == 4 {
            assert_eq!(
                answer,
                Err(AppendError::Rejected {
                    sqlstate: sqlstate.clone()
                })
            );
        } else {
            assert!(
                matches!(answer, Ok(Verdict::Appended { version: 1, .. })),
                "{answer:?}"
            );
        }
    }
    let heads = node.store.heads().await.expect("heads");
    assert_eq!(heads.iter().map(|head| head.position).sum::<i64>(), 8);
}

#[tokio::test]
async fn an_entry_that_breaks_a_promise_of_the_edge_is_refused_before_the_queue() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (mark, _) = node.look(&user(1)).await;
    let elsewhere = (2..).map(user).find(|other| {
        other.partition(crate::support::count()) != user(1).partition(crate::support::count())
    });
    let elsewhere = elsewhere.expect("ids spread");
    for (broken, why) in [
        (entry(mark, &user(1)), "neither a write nor a condition"),
        (
            entry(mark, &user(1)).write(&user(1), 0, 0),
            "a write without events",
        ),
        (
            entry(mark, &user(1)).write(&elsewhere, 0, 1),
            "a stream of another partition",
        ),
        (
            entry(mark, &user(1))
                .write(&user(1), 0, 1)
                .write(&user(1), 1, 1),
            "a stream written twice",
        ),
    ] {
        assert_eq!(
            node.append(broken.into()).await,
            Err(AppendError::Malformed(why))
        );
    }
}

#[tokio::test]
async fn shutting_down_gives_what_waits_its_verdict_and_takes_no_more() {
    let fixture = Fixture::create().await;
    let node = fixture
        .node_with(AppendSettings {
            batch_max: 2,
            ..one_lane()
        })
        .await;
    let blocker = Blocker::hold(&fixture).await;
    let (mark, _) = node.look(&user(0)).await;
    let appender = node.appender.clone();
    let waiting = tokio::spawn(async move {
        let entries = (0..10).map(|n| entry(mark, &user(n)).write(&user(n), 0, 1).into());
        join_all(entries.map(|entry| appender.append(entry))).await
    });
    eventually(Duration::from_secs(5), async || {
        match node.appender.queue_depths()[0] {
            8.. => Ok(()),
            depth => Err(depth),
        }
    })
    .await;
    let appender = node.appender.clone();
    let down = tokio::spawn(async move { appender.shutdown().await });
    blocker.release().await;
    down.await.expect("no panic");
    for answer in waiting.await.expect("no panic") {
        assert!(matches!(answer, Ok(Verdict::Appended { .. })), "{answer:?}");
    }
    let late = entry(mark, &user(99)).write(&user(99), 0, 1);
    assert_eq!(
        node.append(late.into()).await,
        Err(AppendError::ShuttingDown)
    );
}

#[tokio::test]
async fn no_transaction_appends_more_entries_than_append_batch_max() {
    let fixture = Fixture::create().await;
    let node = fixture
        .node_with(AppendSettings {
            batch_max: 4,
            ..one_lane()
        })
        .await;
    let (mark, _) = node.look(&user(0)).await;
    let entries = (0..10).map(|n| entry(mark, &user(n)).write(&user(n), 0, 1).into());
    for answer in append_together(&fixture, &node, entries.collect()).await {
        assert!(matches!(answer, Ok(Verdict::Appended { .. })), "{answer:?}");
    }
    let batches: Vec<i64> =
        sqlx::query_scalar("select count(*) from event_store.event group by xmin::text")
            .fetch_all(node.store.pool())
            .await
            .expect("the batches");
    assert_eq!(batches.iter().sum::<i64>(), 10);
    assert!(batches.iter().all(|entries| *entries <= 4), "{batches:?}");
    assert!(batches.len() < 10, "what waits goes together: {batches:?}");
}

#[tokio::test]
async fn there_are_as_many_lanes_as_append_lanes_says_each_with_a_connection() {
    let fixture = Fixture::create().await;
    let node = fixture
        .node_with(AppendSettings {
            lanes: 3,
            ..AppendSettings::default()
        })
        .await;
    assert_eq!(node.appender.queue_depths().len(), 3);
    for number in 0..20 {
        node.grow(&user(number), 1).await;
    }
    let sessions: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'runnel-append'",
    )
    .fetch_one(node.store.pool())
    .await
    .expect("a count");
    assert!((1..=3).contains(&sessions), "{sessions} sessions");
}

/// SQLSTATE 55P03: a lane waits three seconds for a head, and tries a second time.
#[tokio::test]
async fn a_head_that_was_locked_for_the_first_try_is_taken_by_the_second() {
    const WAITING: &str = "
        select pid from pg_stat_activity
        where datname = current_database() and application_name = 'runnel-append'
            and wait_event_type = 'Lock'";
    let fixture = Fixture::create().await;
    let node = fixture.node_with(one_lane()).await;
    let (mark, _) = node.look(&user(1)).await;
    let blocker = Blocker::hold(&fixture).await;
    let appender = node.appender.clone();
    let create = entry(mark, &user(1)).write(&user(1), 0, 1);
    let answer = tokio::spawn(async move { appender.append(create.into()).await });
    let waiting = async || -> Option<i32> {
        let query = sqlx::query_scalar(WAITING).fetch_optional(node.store.pool());
        query.await.expect("the sessions")
    };
    let patience = Duration::from_secs(20);
    let first = eventually(patience, || async { waiting().await.ok_or("nobody waits") }).await;
    // The second try is made on a connection of its own.
    eventually(patience, || async {
        match waiting().await {
            Some(session) if session != first => Ok(()),
            other => Err(other),
        }
    })
    .await;
    blocker.release().await;
    let answer = answer.await.expect("no panic");
    assert!(
        matches!(answer, Ok(Verdict::Appended { version: 1, .. })),
        "{answer:?}"
    );
}
