//! Claims: unique in a tenant, moved atomically, without deadlocks.

use event_store::Verdict;
use event_store::entry::Claim;
use futures_util::future::join_all;

use crate::support::{Fixture, Node, claim, entry, scope, user};
use events::StreamId;
use uuid::Uuid;

const USERS: u8 = 12;
const ADDRESSES: u8 = 15;
const CHANGES: usize = 60;

fn owner(number: u8) -> String {
    format!("user-{number}")
}

/// Changes the user's address from `held` to `wanted`; says whether it did.
async fn change(node: &Node, number: u8, held: u8, wanted: u8) -> bool {
    let stream = user(number.into());
    let (mark, version) = node.look(&stream).await;
    let entry = entry(mark, &stream)
        .write(&stream, version, 1)
        .release(claim(held, &owner(number)))
        .take(claim(wanted, &owner(number)));
    match node.append(entry.into()).await.expect("a verdict") {
        Verdict::Appended { .. } => true,
        Verdict::ClaimTaken { .. } => false,
        other => panic!("nobody else writes this user: {other:?}"),
    }
}

#[tokio::test]
async fn swapping_addresses_over_two_nodes_never_deadlocks_and_loses_none() {
    let fixture = Fixture::create().await;
    let nodes = [fixture.node().await, fixture.node().await];
    for number in 0..USERS {
        let stream = user(number.into());
        let (mark, _) = nodes[0].look(&stream).await;
        let register = entry(mark, &stream)
            .write(&stream, 0, 1)
            .take(claim(number, &owner(number)));
        nodes[0].append(register.into()).await.expect("a verdict");
    }
    let walks = (0..USERS).map(|number| {
        let node = &nodes[usize::from(number) % 2];
        async move {
            let (mut held, mut changed) = (number, 0);
            let mut random = u32::from(number) + 1;
            for _ in 0..CHANGES {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let wanted = u8::try_from((random >> 16) % u32::from(ADDRESSES)).expect("small");
                if wanted != held && change(node, number, held, wanted).await {
                    held = wanted;
                    changed += 1;
                }
            }
            (number, held, changed)
        }
    });
    let walks = join_all(walks).await;
    let pool = fixture.database.pool();
    let mut expected: Vec<_> = walks
        .iter()
        .map(|(number, held, _)| (vec![*held; 32], owner(*number)))
        .collect();
    expected.sort();
    let mut stored: Vec<(Vec<u8>, String)> =
        sqlx::query_as("select key_hash, owner from event_store.claim")
            .fetch_all(&pool)
            .await
            .expect("claims");
    stored.sort();
    assert_eq!(stored, expected);
    assert!(
        walks.iter().map(|(.., changed)| changed).sum::<i32>() > 50,
        "changes succeed"
    );
    let deadlocks: i64 = sqlx::query_scalar(
        "select deadlocks from pg_stat_database where datname = current_database()",
    )
    .fetch_one(&pool)
    .await
    .expect("statistics");
    assert_eq!(deadlocks, 0);
}

#[tokio::test]
async fn one_of_many_simultaneous_registrations_gets_the_address() {
    let fixture = Fixture::create().await;
    let nodes = [fixture.node().await, fixture.node().await];
    let registrations = (0..40_u8).map(|number| {
        let node = &nodes[usize::from(number) % 2];
        async move {
            let stream = user(number.into());
            let (mark, _) = node.look(&stream).await;
            let entry = entry(mark, &stream)
                .write(&stream, 0, 1)
                .take(claim(7, &owner(number)));
            node.append(entry.into()).await.expect("a verdict")
        }
    });
    let verdicts = join_all(registrations).await;
    let won = verdicts
        .iter()
        .filter(|verdict| matches!(verdict, Verdict::Appended { .. }));
    assert_eq!(won.count(), 1);
    let lost = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::ClaimTaken { kind: "email" });
    assert_eq!(lost.count(), 39);
}

#[tokio::test]
async fn an_address_is_taken_under_every_key_version_or_not_at_all() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let newer = |owner: &str| Claim {
        key_version: 2,
        ..claim(8, owner)
    };
    let (ada, bob) = (user(1), user(2));
    let (mark, _) = node.look(&ada).await;
    let both = entry(mark, &ada)
        .write(&ada, 0, 1)
        .take(claim(7, "ada"))
        .take(newer("ada"));
    assert!(matches!(
        node.append(both.into()).await,
        Ok(Verdict::Appended { .. })
    ));
    // A node that knows the newer key only.
    let (mark, _) = node.look(&bob).await;
    let free_and_taken = entry(mark, &bob)
        .write(&bob, 0, 1)
        .take(claim(9, "bob"))
        .take(newer("bob"));
    let verdict = node.append(free_and_taken.into()).await;
    assert_eq!(verdict, Ok(Verdict::ClaimTaken { kind: "email" }));
    let stored: Vec<(i16, String)> =
        sqlx::query_as("select key_version, owner from event_store.claim order by key_version")
            .fetch_all(node.store.pool())
            .await
            .expect("claims");
    assert_eq!(stored, [(1, "ada".to_owned()), (2, "ada".to_owned())]);
}

#[tokio::test]
async fn the_same_address_in_two_tenants_is_two_addresses() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    for tenant in ["acme", "globex"] {
        let stream = StreamId::user(&scope(tenant).tenant, Uuid::from_u128(1));
        let (mark, _) = node.look(&stream).await;
        let register = entry(mark, &stream)
            .write(&stream, 0, 1)
            .take(claim(7, "same id"));
        assert!(matches!(
            node.append(register.into()).await,
            Ok(Verdict::Appended { .. })
        ));
    }
}

#[tokio::test]
async fn releasing_what_another_holds_changes_nothing() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (ada, bob) = (user(1), user(2));
    let (mark, _) = node.look(&ada).await;
    let register = entry(mark, &ada).write(&ada, 0, 1).take(claim(7, "ada"));
    node.append(register.into()).await.expect("a verdict");
    let (mark, _) = node.look(&bob).await;
    let steal = entry(mark, &bob)
        .write(&bob, 0, 1)
        .release(claim(7, "bob"))
        .take(claim(7, "bob"));
    let verdict = node.append(steal.into()).await;
    assert_eq!(verdict, Ok(Verdict::ClaimTaken { kind: "email" }));
}
