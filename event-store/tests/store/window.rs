//! What a lane knows without reading under the lock, and when it must read after all.

use event_store::{AppendError, AppendSettings, Verdict};
use futures_util::future::join;

use crate::proxy::{Loss, Proxy};
use crate::support::{Fixture, Node, entry, routed};

const ROUTE: &str = "route";

#[tokio::test]
async fn an_entry_older_than_the_windows_beginning_is_judged_by_what_is_stored() {
    let fixture = Fixture::create().await;
    let old = fixture.node().await;
    let (moved, still) = (routed("moved", ROUTE), routed("still", ROUTE));
    old.grow(&moved, 1).await;
    old.grow(&still, 1).await;
    let (mark, _) = old.look(&moved).await;
    old.grow(&moved, 1).await;
    // This node's window begins at the head that its first batch finds: behind the mark.
    let young = fixture.node().await;
    let late = entry(mark, &moved).write(&moved, 1, 1);
    let verdict = young.append(late.into()).await;
    assert_eq!(
        verdict,
        Ok(Verdict::Conflict {
            stream: moved.clone(),
            actual: 2
        })
    );
    let absent = routed("absent", ROUTE);
    let right = entry(mark, &still).write(&still, 1, 1).given(&absent, 0);
    assert!(matches!(
        young.append(right.into()).await,
        Ok(Verdict::Appended { version: 2, .. })
    ));
}

#[tokio::test]
async fn of_two_nodes_that_create_one_stream_at_once_the_second_gets_a_verdict() {
    let fixture = Fixture::create().await;
    let (one, two) = (fixture.node().await, fixture.node().await);
    for round in 0..50 {
        let stream = routed(&format!("stream-{round}"), ROUTE);
        let (mark, _) = one.look(&stream).await;
        let create = |node: &Node| {
            let create = entry(mark, &stream).write(&stream, 0, 2);
            let appender = node.appender.clone();
            async move { appender.append(create.into()).await.expect("a verdict") }
        };
        let (a, b) = join(create(&one), create(&two)).await;
        let created = |verdict: &Verdict| matches!(verdict, Verdict::Appended { version: 2, .. });
        assert!(created(&a) != created(&b), "{a:?} and {b:?}");
        assert!(
            a == Verdict::IdTaken || b == Verdict::IdTaken,
            "{a:?} and {b:?}"
        );
    }
}

#[tokio::test]
async fn a_condition_on_absence_fails_when_another_node_created_the_stream() {
    let fixture = Fixture::create().await;
    let (one, two) = (fixture.node().await, fixture.node().await);
    let (block, follow) = (routed("block", ROUTE), routed("follow", ROUTE));
    two.grow(&routed("opens the window", ROUTE), 1).await;
    let (mark, _) = two.look(&follow).await;
    one.grow(&block, 1).await;
    let late = entry(mark, &follow).write(&follow, 0, 1).given(&block, 0);
    let verdict = two.append(late.into()).await;
    assert_eq!(
        verdict,
        Ok(Verdict::Conflict {
            stream: block,
            actual: 1
        })
    );
    assert_eq!(two.look(&follow).await.1, 0);
}

#[tokio::test]
async fn a_condition_on_absence_and_the_creation_at_the_same_moment_never_both_hold_too_late() {
    let fixture = Fixture::create().await;
    let (one, two) = (fixture.node().await, fixture.node().await);
    for round in 0..50 {
        let block = routed(&format!("block-{round}"), ROUTE);
        let follow = routed(&format!("follow-{round}"), ROUTE);
        let (mark, _) = one.look(&follow).await;
        let create = one.append(entry(mark, &block).write(&block, 0, 1).into());
        let given = two.append(
            entry(mark, &follow)
                .write(&follow, 0, 1)
                .given(&block, 0)
                .into(),
        );
        let (created, followed) = join(create, given).await;
        let Ok(Verdict::Appended {
            address: created, ..
        }) = created
        else {
            panic!("nobody else creates the block: {created:?}");
        };
        match followed.expect("a verdict") {
            Verdict::Appended { address, .. } => assert!(address < created),
            other => assert_eq!(
                other,
                Verdict::Conflict {
                    stream: block,
                    actual: 1
                }
            ),
        }
    }
}

#[tokio::test]
async fn behind_a_tail_that_is_too_long_the_window_begins_anew() {
    let fixture = Fixture::create().await;
    let one = fixture.node().await;
    let short = AppendSettings {
        tail_max: 5,
        ..AppendSettings::default()
    };
    let two = fixture.node_with(short).await;
    let (moved, still) = (routed("moved", ROUTE), routed("still", ROUTE));
    two.grow(&moved, 1).await;
    two.grow(&still, 1).await;
    let (mark, _) = two.look(&moved).await;
    one.grow(&moved, 20).await;
    let late = entry(mark, &moved).write(&moved, 1, 1);
    let verdict = two.append(late.into()).await;
    assert_eq!(
        verdict,
        Ok(Verdict::Conflict {
            stream: moved,
            actual: 21
        })
    );
    let right = entry(mark, &still).write(&still, 1, 1);
    assert!(matches!(
        two.append(right.into()).await,
        Ok(Verdict::Appended { version: 2, .. })
    ));
}

#[tokio::test]
async fn a_window_of_few_streams_still_gives_true_verdicts() {
    let fixture = Fixture::create().await;
    let few = AppendSettings {
        window_streams: 2,
        ..AppendSettings::default()
    };
    let node = fixture.node_with(few).await;
    let streams: Vec<_> = (0..6)
        .map(|n| routed(&format!("stream-{n}"), ROUTE))
        .collect();
    let (before, _) = node.look(&streams[0]).await;
    for stream in &streams {
        node.grow(stream, 1).await;
    }
    for stream in &streams {
        let again = entry(before, stream).write(stream, 0, 1);
        assert_eq!(node.append(again.into()).await, Ok(Verdict::IdTaken));
        assert!(matches!(
            node.grow(stream, 1).await,
            Verdict::Appended { version: 2, .. }
        ));
    }
}

#[tokio::test]
async fn a_name_whose_creating_batch_was_rolled_back_is_not_remembered() {
    let fixture = Fixture::create().await;
    let server = fixture.database.options();
    let proxy = Proxy::before(&server).await;
    let settings = AppendSettings::default();
    let unlucky = Node::start(server.clone(), proxy.options(&server), settings).await;
    let other = fixture.node().await;
    let stream = routed("stream", ROUTE);
    let (mark, _) = unlucky.look(&stream).await;
    proxy.lose_next(Loss::Whole);
    proxy.lose_next(Loss::Whole);
    let create = entry(mark, &stream).write(&stream, 0, 1);
    assert_eq!(
        unlucky.append(create.into()).await,
        Err(AppendError::Unavailable)
    );

    // The same stream, created elsewhere: its number is another one.
    other.grow(&routed("first", ROUTE), 3).await;
    other.grow(&stream, 1).await;
    let again = entry(mark, &stream).write(&stream, 0, 1);
    assert_eq!(unlucky.append(again.into()).await, Ok(Verdict::IdTaken));
    let grown = unlucky.grow(&stream, 1).await;
    assert!(
        matches!(grown, Verdict::Appended { version: 2, .. }),
        "{grown:?}"
    );
    assert_eq!(other.look(&stream).await.1, 2);
}
