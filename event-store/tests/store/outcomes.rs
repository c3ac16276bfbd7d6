//! Idempotency keys: one effect and one stored answer, whichever node.

use std::time::Duration;

use event_store::{AppendSettings, Verdict};
use futures_util::future::join;

use crate::support::{Fixture, claim, entry, scope, user};
use event_store::entry::OutcomeKey;

#[tokio::test]
async fn the_same_key_on_two_nodes_at_once_has_one_effect_and_one_answer() {
    let fixture = Fixture::create().await;
    let (one, two) = (fixture.node().await, fixture.node().await);
    for round in 0..30 {
        let key = format!("key-{round}");
        // A registration without an id: each node makes one of its own, in whatever partition.
        let (here, there) = (user(round * 2), user(round * 2 + 1));
        let (mark, _) = one.look(&here).await;
        let (other_mark, _) = two.look(&there).await;
        let (a, b) = join(
            one.append(entry(mark, &here).write(&here, 0, 1).keyed(&key, 1).into()),
            two.append(
                entry(other_mark, &there)
                    .write(&there, 0, 1)
                    .keyed(&key, 1)
                    .into(),
            ),
        )
        .await;
        let stored = |verdict: &_| match verdict {
            Ok(Verdict::Duplicate(stored)) => Some(stored.token.clone()),
            Ok(Verdict::Appended { .. }) => None,
            other => panic!("{other:?}"),
        };
        let tokens = [stored(&a), stored(&b)];
        assert_eq!(
            tokens.iter().filter(|token| token.is_none()).count(),
            1,
            "{a:?} {b:?}"
        );
        let versions = (one.look(&here).await.1, one.look(&there).await.1);
        assert!(matches!(versions, (0, 1) | (1, 0)), "{versions:?}");
    }
}

#[tokio::test]
async fn refusals_of_the_judge_are_remembered_and_conflicts_are_not() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let (ada, bob) = (user(1), user(2));
    let (mark, _) = node.look(&ada).await;
    let (bobs_mark, _) = node.look(&bob).await;
    let register = entry(mark, &ada).write(&ada, 0, 1).take(claim(7, "ada"));
    node.append(register.into()).await.expect("a verdict");

    let refused = || {
        entry(bobs_mark, &bob)
            .write(&bob, 0, 1)
            .take(claim(7, "bob"))
            .keyed("taken", 1)
    };
    let verdict = node.append(refused().into()).await;
    assert_eq!(verdict, Ok(Verdict::ClaimTaken { kind: "email" }));
    let Ok(Verdict::Duplicate(stored)) = node.append(refused().into()).await else {
        panic!("the refusal was decided");
    };
    assert_eq!(
        (stored.status, stored.code.as_deref()),
        (409, Some("email_taken"))
    );
    assert_eq!(node.look(&bob).await.1, 0);

    let stale = || entry(mark, &ada).given(&ada, 0).keyed("stale", 1);
    for _ in 0..2 {
        let verdict = node.append(stale().into()).await;
        assert_eq!(
            verdict,
            Ok(Verdict::Conflict {
                stream: ada.clone(),
                actual: 1
            })
        );
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from event_store.command_outcome")
        .fetch_one(node.store.pool())
        .await
        .expect("a count");
    assert_eq!(kept, 1, "a conflict leaves no placeholder");
}

#[tokio::test]
async fn an_answer_can_be_found_before_deciding_by_its_own_principal_only() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    let stream = user(1);
    let (mark, _) = node.look(&stream).await;
    let keyed = entry(mark, &stream).write(&stream, 0, 1).keyed("key", 5);
    node.append(keyed.into()).await.expect("a verdict");
    let key = |principal: &str| OutcomeKey {
        principal: principal.to_owned(),
        route: "POST /v1/tests",
        key: "key".to_owned(),
    };
    let acme = scope("acme");
    let found = node
        .store
        .find_outcome(&acme, &key("tester"))
        .await
        .expect("a look-up");
    assert_eq!(
        found.map(|(fingerprint, stored)| (fingerprint, stored.status)),
        Some(([5; 32], 201))
    );
    for (scope, principal) in [(acme, "another"), (scope("globex"), "tester")] {
        let found = node
            .store
            .find_outcome(&scope, &key(principal))
            .await
            .expect("a look-up");
        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn expired_answers_are_swept_and_others_stay() {
    let fixture = Fixture::create().await;
    let short = AppendSettings {
        outcome_retention: Duration::ZERO,
        ..AppendSettings::default()
    };
    let forgetful = fixture.node_with(short).await;
    let node = fixture.node().await;
    for number in 0..3 {
        let (node, stream) = (if number < 2 { &forgetful } else { &node }, user(number));
        let (mark, _) = node.look(&stream).await;
        let keyed = entry(mark, &stream)
            .write(&stream, 0, 1)
            .keyed(&format!("key-{number}"), 1);
        node.append(keyed.into()).await.expect("a verdict");
    }
    assert_eq!(node.store.sweep_outcomes().await.expect("a sweep"), 2);
    assert_eq!(node.store.sweep_outcomes().await.expect("a sweep"), 0);
}
