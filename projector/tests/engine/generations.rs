//! First fill, another revision, and what happens when the store lost its tail.

use projector::engine::Outcome;

use crate::stage::{Stage, settings};
use crate::tally::Tally;

async fn shown(stage: &Stage) -> i64 {
    let events =
        sqlx::query_scalar("select coalesce(sum(events), 0)::bigint from read_model.tally");
    events.fetch_one(&stage.pool).await.unwrap()
}

#[tokio::test]
async fn a_first_fill_is_not_shown_before_every_partition_has_reached_the_cut() {
    let stage = Stage::new().await;
    for n in 0..400 {
        stage.add(&format!("key-{n}"), n).await;
    }
    let engine = stage.engine(Tally::leak(1, 1)).await;
    engine.attend().await.unwrap();
    assert_eq!(stage.generations().await, [(1, 1, "filling".to_owned())]);
    assert_eq!(engine.health().filling, ["tally"]);
    // Three of the four partitions are not enough.
    for partition in engine.partitions().iter().skip(1) {
        while let Outcome::Applied { .. } = engine.step_partition(partition).await {}
    }
    engine.attend().await.unwrap();
    assert_eq!(stage.generations().await, [(1, 1, "filling".to_owned())]);
    // What comes after the cut does not delay it.
    stage.settle(&engine).await;
    assert_eq!(stage.generations().await, [(1, 1, "active".to_owned())]);
    assert!(engine.health().filling.is_empty());
    assert_eq!(shown(&stage).await, 400);
}

#[tokio::test]
async fn a_generation_whose_cut_the_store_lost_is_shown_at_the_heads() {
    let stage = Stage::new().await;
    for n in 0..80 {
        stage.add(&format!("key-{n}"), n).await;
    }
    let engine = stage.engine(Tally::leak(1, 1)).await;
    engine.attend().await.unwrap();
    // The cut was recorded, nothing is applied yet, and then a restore takes the tail.
    stage
        .execute("delete from event_store.event where partition = 0 and position > 5")
        .await;
    stage
        .execute("update event_store.partition_head set position = 5 where partition = 0")
        .await;
    event_store::incarnation::fork(&stage.pool, 0)
        .await
        .unwrap();
    stage.settle(&engine).await;
    assert_eq!(stage.generations().await, [(1, 1, "active".to_owned())]);
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn another_revision_fills_a_generation_beside_the_shown_one_and_then_replaces_it() {
    let stage = Stage::new().await;
    let old = stage.engine(Tally::leak(1, 1)).await;
    for n in 0..200 {
        stage.add(&format!("key-{}", n % 30), n).await;
    }
    stage.settle(&old).await;
    let new = stage.engine(Tally::leak(2, 1)).await;
    new.attend().await.unwrap();
    let both = [(1, 1, "active".to_owned()), (2, 2, "filling".to_owned())];
    assert_eq!(stage.generations().await, both);
    assert_eq!(
        shown(&stage).await,
        200,
        "readers see the old one meanwhile"
    );
    // The old daemon feeds its own generation, and never the new one's.
    stage.add("key-1", 5).await;
    old.step().await;
    assert_eq!(shown(&stage).await, 201);
    stage.settle(&new).await;
    let both = [(1, 1, "standby".to_owned()), (2, 2, "active".to_owned())];
    assert_eq!(stage.generations().await, both);
    stage.add("key-1", 6).await;
    new.step().await;
    assert_eq!(shown(&stage).await, 202);
    old.step().await;
    assert_eq!(stage.rows(1).await, stage.rows(2).await, "both are fed");
    stage.assert_rows_are_the_fold(2).await;
    // An older binary that starts again replaces nothing.
    assert_eq!(stage.generations().await, both);
}

#[tokio::test]
async fn a_new_revision_that_parks_more_than_the_shown_one_is_not_shown() {
    let stage = Stage::new().await;
    let old = Tally::leak(1, 1);
    old.knows.store(2, std::sync::atomic::Ordering::Relaxed);
    let old = stage.engine(old).await;
    stage.append("key", 2, r#"{"add": 1}"#).await;
    stage.settle(&old).await;
    let new = stage.engine(Tally::leak(2, 1)).await;
    stage.settle(&new).await;
    assert_eq!(stage.parked().await.len(), 1);
    let both = [(1, 1, "active".to_owned()), (2, 2, "filling".to_owned())];
    assert_eq!(stage.generations().await, both);
}

#[tokio::test]
async fn a_void_checkpoint_starts_the_first_fill_of_a_new_generation() {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    let keys = stage.keys_of_first_partition(3);
    for n in 0..30 {
        stage.add(&keys[n % 3], 1).await;
    }
    stage.settle(&engine).await;
    // The store comes back without its last ten events.
    stage
        .execute("delete from event_store.event where partition = 0 and position > 20")
        .await;
    stage
        .execute("update event_store.partition_head set position = 20 where partition = 0")
        .await;
    let first = events::Partition(0);
    assert_eq!(
        engine.step_partition(first).await,
        Outcome::Trouble,
        "it waits for the fork"
    );
    event_store::incarnation::fork(&stage.pool, 0)
        .await
        .unwrap();
    // Other events take the lost addresses before anybody looks.
    for _ in 0..15 {
        stage.add(&keys[0], 100).await;
    }
    engine.attend().await.unwrap();
    let states = stage.generations().await;
    assert_eq!(
        states,
        [(1, 1, "void".to_owned()), (2, 1, "filling".to_owned())]
    );
    stage.settle(&engine).await;
    let states = stage.generations().await;
    assert_eq!(
        states,
        [(1, 1, "void".to_owned()), (2, 1, "active".to_owned())]
    );
    stage.assert_rows_are_the_fold(2).await;
    assert_eq!(shown(&stage).await, 35);
}

#[tokio::test]
async fn a_checkpoint_that_became_void_is_never_moved_on() {
    let stage = Stage::new().await;
    let engine = stage.engine_with(Tally::leak(1, 1), settings()).await;
    let key = stage.keys_of_first_partition(1).remove(0);
    for _ in 0..10 {
        stage.add(&key, 1).await;
    }
    stage.settle(&engine).await;
    stage
        .execute("delete from event_store.event where partition = 0 and position > 5")
        .await;
    stage
        .execute("update event_store.partition_head set position = 5 where partition = 0")
        .await;
    event_store::incarnation::fork(&stage.pool, 0)
        .await
        .unwrap();
    for _ in 0..10 {
        stage.add(&key, 100).await;
    }
    // The head has passed the old checkpoint, and this engine has not looked at the incarnations
    // since.
    assert_eq!(
        engine.step_partition(events::Partition(0)).await,
        Outcome::Fenced
    );
    let position: i64 = sqlx::query_scalar(
        "select position from projection.checkpoint where generation = 1 and partition = 0",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(position, 10);
}
