//! Streams whose id does not contain their routing key: the id is unique over all partitions.

use event_store::{AppendSettings, Verdict};
use events::StreamId;
use futures_util::future::join;

use crate::support::{Fixture, append_together, count, entry, scope};

fn post(id: &str, author: &str) -> StreamId {
    StreamId {
        aggregate_type: "post",
        tenant: scope("acme").tenant,
        id: id.to_owned(),
        routing_key: author.to_owned(),
    }
}

fn homed() -> AppendSettings {
    AppendSettings {
        homed_types: &["post"],
        lanes: 1,
        ..AppendSettings::default()
    }
}

#[tokio::test]
async fn one_id_has_one_home_whichever_node_and_partition_creates_it() {
    let fixture = Fixture::create().await;
    let (one, two) = (
        fixture.node_with(homed()).await,
        fixture.node_with(homed()).await,
    );
    for round in 0..20 {
        let id = format!("post-{round}");
        let (adas, bobs) = (post(&id, "ada"), post(&id, "bob the second"));
        assert_ne!(adas.partition(count()), bobs.partition(count()));
        let (mark, _) = one.look(&adas).await;
        let (other_mark, _) = two.look(&bobs).await;
        let (a, b) = join(
            one.append(entry(mark, &adas).write(&adas, 0, 1).into()),
            two.append(entry(other_mark, &bobs).write(&bobs, 0, 1).into()),
        )
        .await;
        let (won, lost) = if b == Ok(Verdict::IdTaken) {
            (&adas, &bobs)
        } else {
            (&bobs, &adas)
        };
        assert!(
            a == Ok(Verdict::IdTaken) || b == Ok(Verdict::IdTaken),
            "{a:?} {b:?}"
        );
        let home = one
            .store
            .find_home(&scope("acme"), "post", &id)
            .await
            .expect("a look-up");
        assert_eq!(
            home,
            Some((won.partition(count()), won.routing_key.clone()))
        );
        assert_eq!((one.look(won).await.1, one.look(lost).await.1), (1, 0));
    }
}

#[tokio::test]
async fn within_a_batch_the_first_creator_gets_the_home_and_a_conflict_leaves_none() {
    let fixture = Fixture::create().await;
    let node = fixture.node_with(homed()).await;
    let (adas, bobs, other) = (
        post("1", "ada"),
        post("1", "bob the second"),
        post("2", "ada"),
    );
    let (mark, _) = node.look(&adas).await;
    let (bobs_mark, _) = node.look(&bobs).await;
    let never = post("nothing", "ada");
    let answers = append_together(
        &fixture,
        &node,
        vec![
            entry(mark, &adas).write(&adas, 0, 1).into(),
            entry(bobs_mark, &bobs).write(&bobs, 0, 1).into(),
            entry(mark, &other)
                .write(&other, 0, 1)
                .given(&adas, 0)
                .into(),
            entry(mark, &never).given(&never, 0).into(),
        ],
    )
    .await;
    assert!(matches!(answers[0], Ok(Verdict::Appended { .. })));
    assert_eq!(answers[1], Ok(Verdict::IdTaken));
    assert_eq!(
        answers[2],
        Ok(Verdict::Conflict {
            stream: adas,
            actual: 1
        })
    );
    assert!(matches!(
        answers[3],
        Ok(Verdict::Unchanged { version: 0, .. })
    ));
    let homes: Vec<(String, i32)> =
        sqlx::query_as("select name, stream_partition from event_store.stream_home")
            .fetch_all(node.store.pool())
            .await
            .expect("homes");
    let home = post("1", "ada").partition(count()).as_i32();
    assert_eq!(homes, [("acme/1".to_owned(), home)]);
}
