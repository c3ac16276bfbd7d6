//! The answer to a commit is lost: the verdict is true all the same.

use event_store::{AppendSettings, Verdict};

use crate::proxy::{Loss, Proxy};
use crate::support::{Fixture, Node, claim, entry, user};

async fn behind_proxy(fixture: &Fixture) -> (Proxy, Node) {
    let server = fixture.database.options();
    let proxy = Proxy::before(&server).await;
    let lanes = proxy.options(&server);
    let node = Node::start(server, lanes, AppendSettings::default()).await;
    (proxy, node)
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_nothing_happens_twice() {
    let fixture = Fixture::create().await;
    let (proxy, node) = behind_proxy(&fixture).await;
    let losses = [Loss::Answer, Loss::Late, Loss::Whole];
    for (number, loss) in (0..).zip(losses) {
        let stream = user(number);
        let (mark, _) = node.look(&stream).await;
        proxy.lose_next(loss);
        let key = format!("key-{number}");
        let register = entry(mark, &stream)
            .write(&stream, 0, 2)
            .take(claim(u8::try_from(number).expect("small"), "me"))
            .keyed(&key, 1);
        let verdict = node.append(register.into()).await;
        assert!(
            matches!(verdict, Ok(Verdict::Appended { version: 2, .. })),
            "{loss:?}: {verdict:?}"
        );
        assert_eq!(node.look(&stream).await.1, 2, "{loss:?}");
        assert!(matches!(
            node.grow(&stream, 1).await,
            Verdict::Appended { version: 3, .. }
        ));
    }
    let checks = event_store::store_info::check(&fixture.database.pool())
        .await
        .expect("a check");
    assert!(
        checks
            .iter()
            .all(event_store::store_info::PartitionCheck::is_sound),
        "{checks:?}"
    );
}

#[tokio::test]
async fn a_lost_answer_of_a_batch_without_events_is_decided_by_its_keys() {
    let fixture = Fixture::create().await;
    let (proxy, node) = behind_proxy(&fixture).await;
    let stream = user(1);
    node.grow(&stream, 1).await;
    let (mark, _) = node.look(&stream).await;
    for loss in [Loss::Answer, Loss::Late, Loss::Whole] {
        proxy.lose_next(loss);
        let key = format!("{loss:?}");
        let no_op = entry(mark, &stream).given(&stream, 1).keyed(&key, 1);
        match node.append(no_op.into()).await {
            Ok(Verdict::Unchanged { version: 1, .. }) => {}
            Ok(Verdict::Duplicate(stored)) => assert_eq!(stored.version, Some(1)),
            other => panic!("{loss:?}: {other:?}"),
        }
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from event_store.command_outcome")
        .fetch_one(node.store.pool())
        .await
        .expect("a count");
    assert_eq!(kept, 3);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_heals() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    node.grow(&user(1), 1).await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'runnel-append'";
    sqlx::query(cut)
        .execute(&fixture.database.pool())
        .await
        .expect("a cut");
    for number in 1..10 {
        assert!(matches!(
            node.grow(&user(number), 1).await,
            Verdict::Appended { .. }
        ));
    }
}
