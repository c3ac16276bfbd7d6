//! The common batch is three round trips, with nothing read between the lock and the write.

use event_store::AppendSettings;

use crate::proxy::Proxy;
use crate::support::{Fixture, Node, claim, entry, user};

/// A node with one lane whose traffic is counted, after a first batch that prepared the statements.
async fn counted(fixture: &Fixture) -> (Proxy, Node) {
    let server = fixture.database.options();
    let proxy = Proxy::before(&server).await;
    let one_lane = AppendSettings {
        lanes: 1,
        ..AppendSettings::default()
    };
    let node = Node::start(server.clone(), proxy.options(&server), one_lane).await;
    node.grow(&user(1000), 1).await;
    let (mark, _) = node.look(&user(1001)).await;
    let with_claim = entry(mark, &user(1001))
        .write(&user(1001), 0, 1)
        .take(claim(99, "x"));
    node.append(with_claim.into()).await.expect("a verdict");
    (proxy, node)
}

#[tokio::test]
async fn a_batch_of_creations_and_appends_is_three_round_trips_without_a_read() {
    let fixture = Fixture::create().await;
    let (proxy, node) = counted(&fixture).await;
    for number in 0..20 {
        let stream = user(number);
        let (mark, _) = node.look(&stream).await;
        proxy.take();
        let create = entry(mark, &stream)
            .write(&stream, 0, 2)
            .given(&user(1001), 1);
        // The condition's stream may live elsewhere; then it is no part of this entry.
        let same_home = user(1001).partition(crate::support::count())
            == stream.partition(crate::support::count());
        let create = if same_home {
            create
        } else {
            entry(mark, &stream).write(&stream, 0, 2)
        };
        node.append(create.into()).await.expect("a verdict");
        let (round_trips, texts) = proxy.take();
        assert_eq!(round_trips, 3, "{texts:?}");
        // The insert was prepared before; of texts there are the lock and the commit.
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("execute lock_heads('{") && texts[1].contains("execute bump('{"));
        assert!(
            texts.iter().all(|text| !text.contains("select")),
            "{texts:?}"
        );
        node.grow(&stream, 1).await;
        assert_eq!(proxy.take().0, 3);
    }
}

#[tokio::test]
async fn claims_cost_one_round_trip_to_lock_and_one_to_write() {
    let fixture = Fixture::create().await;
    let (proxy, node) = counted(&fixture).await;
    let stream = user(1);
    let (mark, _) = node.look(&stream).await;
    proxy.take();
    let register = entry(mark, &stream)
        .write(&stream, 0, 1)
        .take(claim(1, "ada"));
    node.append(register.into()).await.expect("a verdict");
    assert_eq!(proxy.take().0, 5);
}

#[tokio::test]
async fn a_no_op_locks_and_rolls_back_and_commits_nothing() {
    let fixture = Fixture::create().await;
    let (proxy, node) = counted(&fixture).await;
    let stream = user(1);
    node.grow(&stream, 1).await;
    let (mark, _) = node.look(&stream).await;
    proxy.take();
    let commits = proxy.commits();
    node.append(entry(mark, &stream).given(&stream, 1).into())
        .await
        .expect("a verdict");
    let (round_trips, texts) = proxy.take();
    assert_eq!(round_trips, 2, "{texts:?}");
    assert_eq!(proxy.commits(), commits);
}
