//! What every client of the append relies on.

use event_store::Verdict;
use event_store::entry::StoredOutcome;
use events::Address;

use crate::support::{Fixture, claim, count, entry, user};

#[tokio::test]
async fn an_appended_event_has_the_next_address_and_can_be_loaded() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let stream = user(1);
    let (mark, version) = node.look(&stream).await;
    assert_eq!((mark.incarnation, mark.head, version), (1, 0, 0));

    let first = entry(mark, &stream).write(&stream, 0, 2);
    let verdict = node.append(first.into()).await;
    let partition = stream.partition(count());
    let appended = |position, version| Verdict::Appended {
        incarnation: 1,
        address: Address {
            partition,
            position,
        },
        version,
    };
    assert_eq!(verdict, Ok(appended(2, 2)));
    assert_eq!(node.grow(&stream, 1).await, appended(3, 3));
    let (mark, version) = node.look(&stream).await;
    assert_eq!((mark.head, version), (3, 3));
}

#[tokio::test]
async fn what_was_decided_on_another_version_is_a_conflict_and_leaves_nothing() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (stream, other) = (user(1), user(1));
    let (stale, _) = node.look(&stream).await;
    node.grow(&stream, 1).await;
    node.grow(&stream, 1).await;
    let late = entry(stale, &stream).write(&stream, 1, 1);
    let verdict = node.append(late.into()).await;
    assert_eq!(
        verdict,
        Ok(Verdict::Conflict {
            stream: stream.clone(),
            actual: 2
        })
    );
    let again = entry(stale, &other).write(&other, 0, 1);
    assert_eq!(node.append(again.into()).await, Ok(Verdict::IdTaken));
    assert_eq!(node.look(&stream).await.1, 2);
}

#[tokio::test]
async fn a_no_op_gets_the_address_of_what_it_saw() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let stream = user(1);
    let partition = stream.partition(count());
    let unchanged = |position, version| {
        let address = Address {
            partition,
            position,
        };
        Ok(Verdict::Unchanged {
            incarnation: 1,
            address,
            version,
        })
    };
    let (mark, _) = node.look(&stream).await;
    assert_eq!(
        node.append(entry(mark, &stream).given(&stream, 0).into())
            .await,
        unchanged(0, 0)
    );
    node.grow(&stream, 2).await;
    let (mark, _) = node.look(&stream).await;
    assert_eq!(
        node.append(entry(mark, &stream).given(&stream, 2).into())
            .await,
        unchanged(2, 2)
    );
    // Another node, whose window begins behind those events.
    let other = fixture.node().await;
    assert_eq!(
        other
            .append(entry(mark, &stream).given(&stream, 2).into())
            .await,
        unchanged(2, 2)
    );
}

#[tokio::test]
async fn a_claim_has_one_owner_until_it_is_released() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (ada, bob) = (user(1), user(2));
    let register = async |stream: &_, owner: &str| {
        let (mark, version) = node.look(stream).await;
        let entry = entry(mark, stream)
            .write(stream, version, 1)
            .take(claim(7, owner));
        node.append(entry.into()).await.expect("a verdict")
    };
    assert!(matches!(
        register(&ada, "ada").await,
        Verdict::Appended { .. }
    ));
    assert_eq!(
        register(&bob, "bob").await,
        Verdict::ClaimTaken { kind: "email" }
    );
    let (mark, version) = node.look(&ada).await;
    let leave = entry(mark, &ada)
        .write(&ada, version, 1)
        .release(claim(7, "ada"));
    assert!(matches!(
        node.append(leave.into()).await,
        Ok(Verdict::Appended { .. })
    ));
    assert!(matches!(
        register(&bob, "bob").await,
        Verdict::Appended { .. }
    ));
    let owners: Vec<String> = sqlx::query_scalar("select owner from event_store.claim")
        .fetch_all(node.store.pool())
        .await
        .expect("claims");
    assert_eq!(owners, ["bob"]);
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer_and_another_request_is_refused() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let stream = user(1);
    let (mark, _) = node.look(&stream).await;
    let request = |request| {
        entry(mark, &stream)
            .write(&stream, 0, 1)
            .keyed("key", request)
    };
    assert!(matches!(
        node.append(request(1).into()).await,
        Ok(Verdict::Appended { .. })
    ));
    let stored = StoredOutcome {
        status: 201,
        code: None,
        id: Some("the-id".to_owned()),
        version: Some(1),
        token: Some(format!("1.{}.1", stream.partition(count()))),
    };
    assert_eq!(
        node.append(request(1).into()).await,
        Ok(Verdict::Duplicate(stored))
    );
    assert_eq!(node.append(request(2).into()).await, Ok(Verdict::KeyReused));
    assert_eq!(node.look(&stream).await.1, 1);
}
