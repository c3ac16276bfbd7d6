//! Who relays: a fair share each, handed over at once, and fenced.

use std::time::Duration;

use event_store::relay::{Outcome, RelaySettings};
use events::Partition;
use testkit::eventually;

use crate::stage::{Stage, relay_all, settings};

const BOUNDS: &str = "select relayed_position from event_store.relay_lease order by partition";

#[tokio::test]
async fn two_relays_share_the_partitions_and_hand_them_over_at_once() {
    let stage = Stage::create().await;
    let (first, second) = (stage.relay(), stage.relay());
    first.tend().await.expect("the leases");
    assert_eq!(first.partitions_held().len(), 4);
    stage.append(60).await;
    relay_all(&first).await;
    // The second announces itself, the first gives up half, the second takes it.
    for relay in [&second, &first, &second] {
        relay.tend().await.expect("the leases");
    }
    assert_eq!(
        (
            first.partitions_held().len(),
            second.partitions_held().len()
        ),
        (2, 2)
    );
    for partition in second.partitions_held() {
        assert_eq!(first.step(partition).await, Outcome::NotHeld);
    }
    stage.append(60).await;
    relay_all(&first).await;
    relay_all(&second).await;
    first.leave().await;
    second.tend().await.expect("the leases");
    assert_eq!(second.partitions_held().len(), 4, "at once");
    stage.append(60).await;
    relay_all(&second).await;
    assert_eq!(stage.assert_relayed().await, 0);
    second.leave().await;
}

#[tokio::test]
async fn a_relay_that_lost_its_lease_moves_no_lower_bound_and_what_it_sent_is_only_repeated() {
    let stage = Stage::create().await;
    let short = RelaySettings {
        lease: Duration::from_millis(500),
        ..settings()
    };
    let lost = stage.relay_with(short, None);
    let user = stage.user_in(0);
    stage.append_to(user, 20, "").await;
    lost.tend().await.expect("the leases");
    // It sends, and then hangs longer than its lease.
    for _ in 0..2 {
        lost.step(Partition(0)).await;
    }
    let next = stage.relay();
    eventually(Duration::from_secs(20), || async {
        next.tend().await.expect("the leases");
        let held = next.partitions_held().len();
        (held == 4).then_some(()).ok_or(held)
    })
    .await;
    assert_eq!(
        lost.step(Partition(0)).await,
        Outcome::NotHeld,
        "by its own clock"
    );
    relay_all(&next).await;
    let bounds = || sqlx::query_scalar::<_, i64>(BOUNDS);
    let before: Vec<i64> = bounds().fetch_all(&stage.pool()).await.expect("the bounds");
    assert_eq!(before[0], 20);
    lost.tend().await.expect("the leases");
    let after: Vec<i64> = bounds().fetch_all(&stage.pool()).await.expect("the bounds");
    assert_eq!(before, after);
    stage.assert_relayed().await;
    next.leave().await;
    lost.leave().await;
}
